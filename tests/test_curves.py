"""Twenty training steps of every kind on a tiny model give the recorded losses.

A curve changes only in a commit that says why. A new kind needs a curve:

    python tests/test_curves.py              writes the curves that are missing
    python tests/test_curves.py NAME ...     rewrites the named ones too; `all` names every one
"""

import itertools
import json
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_choices import MODELS, fitting
from torch import Tensor

from cogito_ray.losses.diversity_regularisers import RegulariserSpec
from cogito_ray.losses.loss_weighting import WeightingSpec
from cogito_ray.losses.reconstruction_and_contrast import ContrastSpec
from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.run_spec import RunSpec
from cogito_ray.spec_registry import name_of
from cogito_ray.testing.tiny_runs import VOCABULARY, build, kinds, run

FILE = Path(__file__).parent / "golden" / "curves.json"
STEPS, BATCHES, BATCH, LENGTH = 20, 4, 8, 16


def cases() -> dict[str, Callable[[], RunSpec]]:
    """What makes one run per kind; whatever else it needs is the default. (To make them all takes seconds.)"""
    runs: dict[str, Callable[[], RunSpec]] = {
        f"model.{'.'.join(place)}={kind}": partial(fitting, place, kind) for place, kind in MODELS
    }
    runs["model.encoder.tied=true"] = partial(run, model={"encoder": {"depth": 2, "tied": True}})
    runs["model.token_width=4"] = partial(run, model={"token_width": 4})
    runs |= {
        f"objective={name_of(spec)}": partial(run, objective={"kind": name_of(spec)}) for spec in kinds(ObjectiveSpec)
    }
    losses: dict[str, dict[str, Any]] = {
        f"loss.contrast={name_of(spec)}": {"contrast": {"kind": name_of(spec)}} for spec in kinds(ContrastSpec)
    }
    for spec in kinds(RegulariserSpec):
        losses[f"loss.regularisers={name_of(spec)}"] = {"regularisers": [{"kind": name_of(spec)}]}
    for spec in kinds(WeightingSpec):
        losses[f"loss.weighting={name_of(spec)}"] = {
            "regularisers": [{"kind": "vicreg"}],
            "weighting": {"kind": name_of(spec)},
        }
    return runs | {case: partial(run, loss=loss) for case, loss in losses.items()}


def batches() -> Tensor:
    """(BATCHES, BATCH, LENGTH) of a made language: each word is followed by one of three, so there is much to learn."""
    draw = np.random.default_rng(0)
    followers = draw.integers(4, VOCABULARY.size, (VOCABULARY.size, 3))
    words = np.empty((BATCHES * BATCH, LENGTH), dtype=np.int64)
    words[:, 0] = draw.integers(4, VOCABULARY.size, BATCHES * BATCH)
    for place in range(1, LENGTH):
        words[:, place] = followers[words[:, place - 1], draw.integers(0, 3, BATCHES * BATCH)]
    words[::5, 12:] = VOCABULARY.pad_id
    return torch.from_numpy(words).view(BATCHES, BATCH, LENGTH)


@cache
def curve(settings: str) -> list[float]:
    """Total loss before each step. Kinds that are each other's defaults are one run."""
    spec = RunSpec.model_validate_json(settings)
    total, generator = build(spec), torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(total.parameters(), lr=1e-2, fused=True)
    values = []
    for step, ids in enumerate(itertools.islice(itertools.cycle(batches()), STEPS)):
        torch.manual_seed(step)                         # as training does: for what draws within a pass
        losses = total(*spec.loss.views(spec.objective, ids, VOCABULARY, generator))
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        values.append(round(losses.total.item(), 5))
    return values


CASES = cases()


@pytest.mark.parametrize("case", CASES)
def test_twenty_steps_give_the_recorded_losses(case: str):
    recorded = json.loads(FILE.read_text())
    assert case in recorded, f"no curve of {case}; write it with: python tests/test_curves.py"
    # rounding differs between processors and libraries and grows from step to step; a changed model differs by far more
    assert curve(CASES[case]().model_dump_json()) == pytest.approx(recorded[case], rel=1e-3, abs=1e-3)


def test_every_recorded_curve_is_of_a_kind_that_exists():
    assert set(json.loads(FILE.read_text())) <= set(CASES)


def write(names: list[str]) -> None:
    old = json.loads(FILE.read_text()) if FILE.exists() else {}
    kept = {case: values for case, values in old.items() if case in CASES and not {case, "all"} & set(names)}
    new = kept | {case: curve(make().model_dump_json()) for case, make in CASES.items() if case not in kept}
    lines = [f"  {json.dumps(case)}: {json.dumps(new[case])}" for case in sorted(new)]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    write(sys.argv[1:])
