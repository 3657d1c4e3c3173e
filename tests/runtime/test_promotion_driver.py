"""Promotion is refused until there is something to promote from. No cluster."""

import pytest
from corpora import tiny_run

from cogito_ray.records.ledger import Ledger
from cogito_ray.runtime.experiment_folder import ExperimentFolder
from cogito_ray.runtime.train.promotion_driver import planned
from cogito_ray.sweeps.sweep_spec import SweepSpec


def sweep(folder, **changed):
    tree = {
        "name": "tiny",
        "run": tiny_run(folder),
        "space": {"seed": {"randint": [0, 9]}},
        "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
        "budget": {"trials": 4},
        "promote": {"with": {"training.steps": 50}},
    }
    return SweepSpec.model_validate(tree | changed)


def test_a_sweep_that_asks_for_no_promotion_is_told_how_to(tmp_path):
    with pytest.raises(ValueError, match="add promote: "):
        planned(sweep(tmp_path, promote=None), tmp_path)


def test_a_sweep_that_was_never_begun_or_has_not_ended_is_to_be_run_first(tmp_path):
    spec = sweep(tmp_path)
    with pytest.raises(ValueError, match="has not ended; run it first"):
        planned(spec, tmp_path)
    experiment = ExperimentFolder.of_sweep(spec, tmp_path)
    with Ledger(experiment.ledger) as ledger:
        ledger.append(experiment.opening())
    with pytest.raises(ValueError, match="has not ended; run it first"):
        planned(spec, tmp_path)
