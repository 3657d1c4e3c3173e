"""Finalists run again under real Ray: further trials of the same ledger, unknown to the searcher, taken up again."""

import optuna
import pytest
from corpora import prepared_run
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from cogito_ray.records.ledger import NAME, TrialStarted, events
from cogito_ray.records.results.trial_ranking import rank
from cogito_ray.runtime.cluster import left_behind
from cogito_ray.runtime.tune.sweep_driver import run_sweep
from cogito_ray.sweeps.sweep_spec import SweepSpec

pytestmark = [pytest.mark.usefixtures("ray_cluster")]


def test_finalists_run_again_under_other_seeds_and_more_seeds_add_to_them(tmp_path):
    tree = {
        "name": "tiny",
        "run": prepared_run(tmp_path),
        "space": {"objective.rate": {"choice": [0.3, 0.5, 0.7]}},
        "search": {"sampler": "grid"},
        "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
        "budget": {"trials": 3},
        "concurrency": 2,
    }
    record = run_sweep(SweepSpec.model_validate(tree | {"seeds": 2}), tmp_path)
    assert record.is_complete
    assert len(record.trials) == 3
    finalists = {run.replicates for run in record.replicates.values()}
    assert len(finalists) == 2
    assert len(record.replicates) == 4
    assert len({run.spec["seed"] for run in record.replicates.values()}) == 2
    assert {row.trial for row in rank(record).rows if row.spread} == finalists
    study = optuna.load_study(
        study_name=None, storage=JournalStorage(JournalFileBackend(str(tmp_path / "tiny" / "study.journal")))
    )
    assert {trial.user_attrs["trial"] for trial in study.trials} == set(record.trials)

    more = run_sweep(SweepSpec.model_validate(tree | {"seeds": 3}), tmp_path)
    assert more.is_complete
    assert more.replicates.keys() > record.replicates.keys()
    assert len(more.replicates) == 6
    starts = [event for event in events(tmp_path / "tiny" / NAME) if isinstance(event, TrialStarted)]
    assert len(starts) == 3 + 6  # nothing was run twice
    assert left_behind() == []
