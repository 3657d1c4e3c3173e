"""Every kind of every union, found through the unions themselves, and tiny whole runs of them."""

import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import numpy as np
import torch
from torch import Tensor

from cogito_ray.base_spec import Spec
from cogito_ray.losses.total_loss import Losses, TotalLoss
from cogito_ray.nn.decoders import DecoderSpec
from cogito_ray.nn.model import ModelSpec
from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.run_spec import RunSpec
from cogito_ray.text.collocations import find_collocations
from cogito_ray.text.vocabulary import Vocabulary

LENGTH = 16
ROWS = np.random.default_rng(0).integers(4, 64, (40, LENGTH))
PLAIN = Vocabulary(size=64, pad_id=0, mask_id=1, separator_id=2, special_ids=(0, 1, 2, 3))
VOCABULARY = Vocabulary(64, 0, 1, 2, (0, 1, 2, 3), find_collocations(ROWS % 8 + 4, PLAIN, least_count=2))
SMALL = {"width": 16, "heads": 2, "concepts": 6, "encoder": {"depth": 2}, "decoder": {"kind": "position"}}
TINY = tempfile.TemporaryDirectory()


@cache
def tiny_language_model() -> str:
    """Folder of a random LLaMA that knows the words of VOCABULARY."""
    from transformers import LlamaConfig, LlamaModel  # seconds, which every process that imports this would pay

    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaModel(LlamaConfig(vocab_size=64, max_position_embeddings=LENGTH, **sizes)).save_pretrained(TINY.name)
    return TINY.name


SETTINGS: dict[tuple[str, str], Callable[[], dict[str, Any]]] = {
    ("tokens", "pretrained"): lambda: {"model": tiny_language_model(), "frozen": False},
}
"""What a kind must be told where its defaults do not make a tiny run: (field, kind) -> makes its other settings."""


def kinds(union: object) -> list[type[Spec]]:
    """Members of a union of specs, in order."""
    while get_origin(union) is Annotated:
        union = get_args(union)[0]
    members = get_args(union) if get_origin(union) in (Union, UnionType) else (union,)
    specs = [kind for member in members if member is not type(None) for kind in _specs(member)]
    return [spec for spec in specs if "kind" in spec.model_fields]


def _specs(member: object) -> list[type[Spec]]:
    if isinstance(member, type):
        return [member] if issubclass(member, Spec) else []
    return kinds(member)


def name(spec: type[Spec]) -> str:
    return str(spec.model_fields["kind"].default)


def choices(spec: type[Spec], place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every (dotted path, kind) that one may choose below a spec."""
    for field, info in spec.model_fields.items():
        annotation = Annotated[info.annotation, None]
        for kind in kinds(annotation):
            yield (*place, field), name(kind)
        if isinstance(info.annotation, type) and issubclass(info.annotation, Spec) and not kinds(annotation):
            yield from choices(info.annotation, (*place, field))


def at(place: tuple[str, ...], kind: str) -> dict[str, Any]:
    """{"a": {"b": {"kind": kind}}} for the path a.b."""
    tree: dict[str, Any] = {"kind": kind} | SETTINGS.get((place[-1], kind), dict)()
    for part in reversed(place):
        tree = {part: tree}
    return tree


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`; a kind replaces what stood there whole."""
    deep = {
        key: merged(base[key], value)
        for key, value in over.items()
        if isinstance(value, dict) and isinstance(base.get(key), dict) and "kind" not in value
    }
    return base | over | deep


def run(**over: Any) -> RunSpec:
    data = {"sources": {"docs": {"kind": "python-docs", "part": "library"}}, "length": LENGTH}
    return RunSpec.model_validate(merged({"data": data, "model": SMALL, "objective": {"kind": "mlm"}}, over))


def build(spec: RunSpec) -> TotalLoss:
    torch.manual_seed(0)
    return TotalLoss(spec.model.build(VOCABULARY, LENGTH), spec.loss)


def rows() -> Tensor:
    """Full rows and one that ends early."""
    ids = torch.from_numpy(ROWS[:8].copy())
    ids[0, 11:] = VOCABULARY.pad_id
    return ids


def losses_of(spec: RunSpec, total: TotalLoss) -> Losses:
    return total(*spec.loss.views(spec.objective, rows(), VOCABULARY, torch.Generator().manual_seed(0)))


def fitting(place: tuple[str, ...], kind: str) -> RunSpec:
    """A run with this choice and an objective that gives its decoder what it needs."""
    model = merged(SMALL, at(place, kind))
    decoder = next(spec for spec in kinds(DecoderSpec) if name(spec) == model["decoder"]["kind"])
    objective = next(spec for spec in kinds(ObjectiveSpec) if decoder.needs <= spec.provides)
    return run(model=at(place, kind), objective={"kind": name(objective)})


MODELS = sorted(set(choices(ModelSpec)))
