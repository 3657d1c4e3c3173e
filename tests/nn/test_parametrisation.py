"""Under mup, the size of what a model computes and learns does not depend on the size of the model."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from model_choices import MODELS, at, fitting

from cogito_ray.run_spec import RunSpec
from cogito_ray.testing.coordinate_check import coordinates, slopes
from cogito_ray.testing.tiny_runs import build, losses_of, merged, run

MUP = {"kind": "mup", "base_width": 32, "base_depth": 2}
EACH = pytest.mark.parametrize(
    ("place", "kind"),
    [choice for choice in MODELS if choice[0] != ("parametrisation",)],
    ids=lambda part: part if isinstance(part, str) else ".".join(part),
)
MOVED = "concepts of the first block moved after 5"


def mixtures() -> Iterator[RunSpec]:
    """Few runs in which every kind of a model's part is once."""
    places = {place: [kind for there, kind in MODELS if there == place] for place, _ in MODELS}
    del places[("parametrisation",)]
    for number in range(max(map(len, places.values()))):
        model: dict[str, Any] = {"heads": 2}
        for place, kinds in places.items():
            model = merged(model, at(place, kinds[number % len(kinds)]))
        yield run(model=model, objective={"kind": "diffusion"})


def sized(spec: RunSpec, parametrisation: dict[str, Any], optimizer: str = "adamw", **sizes: Any) -> RunSpec:
    """With these sizes and parametrisation."""
    over = {"model": sizes | {"parametrisation": parametrisation}, "training": {"optimizer": {"kind": optimizer}}}
    return RunSpec.model_validate(merged(spec.model_dump(mode="json"), over))


def over_widths(spec: RunSpec, parametrisation: dict[str, Any], seeds: int) -> dict[str, float]:
    """Slopes of what is measured after five steps, the mean of so many seeds."""
    each = [
        slopes({
            width: coordinates(sized(spec, parametrisation, width=width).model_copy(update={"seed": seed}), (5,))
            for width in (64, 256)
        })
        for seed in range(seeds)
    ]  # fmt: skip
    return {name: sum(one[name] for one in each) / seeds for name in each[0]}


@pytest.mark.parametrize("mixture", range(5))
def test_nothing_grows_with_width_under_mup(mixture: int):
    found = over_widths([*mixtures()][mixture], MUP, seeds=3)
    assert not {name: slope for name, slope in found.items() if abs(slope) > 0.15}     # 0.05 is what three seeds tell


@pytest.mark.parametrize("mixture", range(5))
def test_what_is_learned_in_a_step_grows_with_width_under_the_standard_parametrisation(mixture: int):
    found = over_widths([*mixtures()][mixture], {"kind": "standard"}, seeds=1)
    assert found["concepts of the first block moved after 5"] > 0.3


def trained(spec: RunSpec) -> list[torch.Tensor]:
    """Weights after three steps."""
    total = build(spec)
    optimizer = spec.training.optimizer.build(total)
    for _ in range(3):
        losses_of(spec, total).total.backward()
        optimizer.step()
        optimizer.zero_grad()
    return list(total.parameters())


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@EACH
def test_at_the_base_sizes_mup_is_the_standard_parametrisation_bit_for_bit(
    place: tuple[str, ...], kind: str, optimizer: str
):
    spec = fitting(place, kind)
    base = {"kind": "mup", "base_width": 16, "base_depth": 2}
    one, other = (trained(sized(spec, kind, optimizer)) for kind in ({"kind": "standard"}, base))
    assert all(map(torch.equal, one, other))
