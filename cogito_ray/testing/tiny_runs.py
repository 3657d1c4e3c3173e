"""Tiny whole runs of any kind, found through the unions: seconds for all of them, without a file or a network."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cogito_ray.base_spec import Spec
from cogito_ray.losses.total_loss import Losses, TotalLoss
from cogito_ray.nn.model import ConceptModel
from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.plugins import loaded
from cogito_ray.run_spec import RunSpec
from cogito_ray.spec_registry import members
from cogito_ray.text.pmi_collocations import find_collocations
from cogito_ray.text.vocabulary_info import Vocabulary

LENGTH = 16
ROWS = np.random.default_rng(0).integers(4, 64, (40, LENGTH))
PLAIN = Vocabulary(size=64, pad_id=0, mask_id=1, separator_id=2, special_ids=(0, 1, 2, 3))
VOCABULARY = Vocabulary(64, 0, 1, 2, (0, 1, 2, 3), find_collocations(ROWS % 8 + 4, PLAIN, least_count=2))
SMALL = {"width": 16, "heads": 2, "concepts": 6, "encoder": {"depth": 2}, "decoder": {"kind": "position"}}
PLACES: dict[str, tuple[str, ...]] = {
    "block": ("model", "encoder", "block"),
    "contrast": ("loss", "contrast"),
    "decoder": ("model", "decoder"),
    "latents": ("model", "latents"),
    "objective": ("objective",),
    "regulariser": ("loss", "regularisers"),
    "token_stage": ("model", "encoder", "tokens"),
    "weighting": ("loss", "weighting"),
}
"""Where the parts of a run stand, by the names of their unions."""


def kinds(annotation: object) -> list[type[Spec]]:
    """Members of a union of specs that have a kind, registered ones last."""
    found = [one for one in members(annotation) if isinstance(one, type) and issubclass(one, Spec)]
    return [spec for spec in found if "kind" in spec.model_fields]


def needs_of(decoder: type[Spec]) -> frozenset[str]:
    """What a kind of decoder reads of a view."""
    needs: frozenset[str] = decoder.needs  # type: ignore[attr-defined]
    return needs


def provided_by(objective: type[Spec]) -> frozenset[str]:
    """What a kind of objective gives to decoders."""
    provides: frozenset[str] = objective.provides  # type: ignore[attr-defined]
    return provides


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`; a kind replaces what stood there whole."""
    deep = {
        key: merged(base[key], value)
        for key, value in over.items()
        if isinstance(value, dict) and isinstance(base.get(key), dict) and "kind" not in value
    }
    return base | over | deep


def run(**over: Any) -> RunSpec:
    """A run of a tiny model, with these settings instead, and the plugins that are loaded."""
    data = {"sources": {"docs": {"kind": "python-docs", "part": "library"}}, "length": LENGTH}
    base = {"data": data, "model": SMALL, "objective": {"kind": "mlm"}, "plugins": loaded()}
    return RunSpec.model_validate(merged(base, over))


def run_with(**parts: Spec) -> RunSpec:
    """A run of a tiny model that has these parts, each under the name of its union: `run_with(decoder=MySpec())`."""
    decoder = parts.get("decoder")
    if decoder is not None and "objective" not in parts:
        fits = (spec for spec in kinds(ObjectiveSpec) if needs_of(type(decoder)) <= provided_by(spec))
        parts["objective"] = next(fits)()
    tree: dict[str, Any] = {}
    for name, part in parts.items():
        here: Any = part.model_dump(mode="json")
        here = [here] if name == "regulariser" else here
        for key in reversed(PLACES[name]):
            here = {key: here}
        tree = merged(tree, here)
    return run(**tree)


def by_documents(spec: RunSpec) -> RunSpec | None:
    """The same run, whose model reads the documents of a row one by one; None where one of its kinds cannot."""
    model = spec.model
    parts = (model.latents, model.encoder.block, model.encoder.tokens, model.decoder, spec.objective)
    if not all(part.respects_documents for part in parts if part is not None):
        return None
    tree = spec.model_dump(mode="json")
    return RunSpec.model_validate(merged(tree, {"model": {"attention": "document"}}))


def build(spec: RunSpec) -> TotalLoss:
    """The run's model and losses, from the same random numbers each time."""
    torch.manual_seed(0)
    return TotalLoss(spec.model.build(VOCABULARY, LENGTH), spec.loss)


def rows() -> Tensor:
    """Full rows and one that ends early."""
    ids = torch.from_numpy(ROWS[:8].copy())
    ids[0, 11:] = VOCABULARY.pad_id
    return ids


def losses_of(spec: RunSpec, total: TotalLoss) -> Losses:
    """What a step on those rows comes to."""
    losses: Losses = total(*spec.views(rows(), VOCABULARY, torch.Generator().manual_seed(0)))
    return losses


def two_documents() -> Tensor:
    """Full rows of two documents each, which end at various places, and one that ends early."""
    ids = torch.from_numpy(ROWS[8:14].copy())
    for row, end in enumerate((4, 6, 7, 9, 10, 11)):
        ids[row, end] = VOCABULARY.separator_id
    ids[5, 14:] = VOCABULARY.pad_id
    return ids


def disturbed(total: TotalLoss) -> TotalLoss:
    """With weights moved a little: gates that start at 0 hide what is behind."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in total.model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return total


def untrained(spec: RunSpec) -> list[str]:
    """Names of parameters without a finite, non-zero gradient after one step's backward pass."""
    total = disturbed(build(spec))
    losses_of(spec, total).total.backward()
    return [
        path
        for path, parameter in total.named_parameters()
        if parameter.grad is None or not parameter.grad.isfinite().all() or not parameter.grad.any()
    ]


def encoded(model: ConceptModel, ids: Tensor) -> Tensor:
    """All tokens visible -> concepts (B, C, D)."""
    concepts: Tensor = model.encoder(ids, torch.arange(ids.shape[1]).expand_as(ids), ids != VOCABULARY.pad_id)
    return concepts
