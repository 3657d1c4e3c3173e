"""Real curves of a whole grid (tests/golden/grid.json, by jobs/bench_grid.py), searched as bench_grid.yaml says."""

import json
from pathlib import Path

import pytest
from sweep_simulator import simulate

from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.yaml_io.yaml_loader import load

ROOT = Path(__file__).parents[2]
NATS = "eval/reconstruction_nats"
CURVES = json.loads((ROOT / "tests" / "golden" / "grid.json").read_text())["curves"]
ENDS = [curve[max(curve, key=int)] for curve in CURVES.values()]
STEPS = sum(int(max(curve, key=int)) for curve in CURVES.values())


def recorded(sample, step):
    return {NATS: CURVES[json.dumps(sample, sort_keys=True)][str(step)]}


def sweep(seed):
    tree = load(ROOT / "jobs" / "bench_grid.yaml").model_dump()
    return SweepSpec.model_validate(tree | {"search": tree["search"] | {"seed": seed}})


def test_the_record_holds_every_point_of_the_space_to_its_last_step():
    whole = SweepSpec.model_validate(
        sweep(0).model_dump() | {"search": {"sampler": "grid"}, "early_stopping": {"kind": "none"}}
    )
    points = {json.dumps(cell, sort_keys=True): whole.trial(cell).training for cell in whole.search_space.grid_points()}
    assert {point: max(map(int, curve)) for point, curve in CURVES.items()} == {
        point: training.steps for point, training in points.items()
    }


@pytest.mark.parametrize("seed", [100, 101, 102])
def test_the_search_ends_within_two_percent_of_the_grid_on_three_tenths_of_its_steps(seed):
    ended = simulate(sweep(seed), recorded, workers=2, limit=int(0.3 * STEPS))
    found = [trial.metrics[NATS] for trial in ended if trial.completed]
    assert min(found) <= 1.02 * min(ENDS)
