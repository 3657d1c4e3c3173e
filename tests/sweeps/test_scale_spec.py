"""A ladder of sizes: what its rungs are, and which ladders are refused before anything is spent."""

import pytest
from corpora import unread_run
from pydantic import ValidationError

from cogito_ray.sweeps.sweep_spec import SweepSpec

SIZES = {"model.width": [16, 32], "training.steps": [10, 20]}


FULL = {"with": {"training.steps": 80, "model.width": 128}}


def sweep(scale, promote=FULL):
    tree = {
        "name": "tiny",
        "run": unread_run(steps=10),
        "space": {
            "objective.rate": {"choice": [0.3, 0.6]},
            "model.token_width": {"ratio": {"of": "model.width", "choice": [0.5, 1.0]}},
        },
        "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
        "budget": {"trials": 4},
        "scale": scale,
        "promote": promote,
    }
    return SweepSpec.model_validate(tree)


def test_rungs_cross_the_sizes_keep_what_the_trial_found_and_run_once_per_seed():
    spec = sweep({"sizes": SIZES, "seeds": 2})
    assert spec.scale is not None
    trees = spec.scale.trees(spec.search_space, {"objective.rate": 0.6, "model.token_width": 0.5})
    assert [(tree["model"]["width"], tree["training"]["steps"]) for _, tree in trees[::2]] == [
        (16, 10), (16, 20), (32, 10), (32, 20),
    ]  # fmt: skip
    assert all(tree["model"]["token_width"] == tree["model"]["width"] / 2 for _, tree in trees)
    assert all(tree["objective"]["rate"] == 0.6 for _, tree in trees)
    assert len({tree["seed"] for _, tree in trees}) == 2


@pytest.mark.parametrize(
    ("scale", "why"),
    [
        ({"sizes": {"training.steps": [10, 20]}}, "2 rungs, and a law needs 3"),
        ({"sizes": {"objective.rate": [0.2, 0.4, 0.5]}}, "scale.sizes.objective.rate: the sweep searches over"),
        ({"sizes": {"training.stepz": [1, 2, 3]}}, "scale.sizes.training.stepz: there is no such setting"),
        ({"sizes": {"model.width": [16, 17, 32]}}, "scale"),
        ({"sizes": {"seed": [1, 2, 3]}}, "scale.seeds"),
    ],
)
def test_ladders_that_cannot_be_are_refused_when_the_file_is_read(scale, why):
    with pytest.raises(ValidationError, match=why):
        sweep(scale)


def test_a_ladder_without_full_runs_foretells_nothing():
    with pytest.raises(ValidationError, match="scale: foretells full runs, and there are none"):
        sweep({"sizes": SIZES}, promote=None)


def test_a_ladder_may_be_added_to_a_sweep_that_has_ended():
    assert sweep({"sizes": SIZES}).identity() == sweep({"sizes": SIZES, "seeds": 2}).identity()
