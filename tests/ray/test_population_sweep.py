"""A population under Ray: copies go on where their parents stood, and every place of it is filled to the last step."""

import pytest
from corpora import prepared_run

from cogito_ray.records.ledger import NAME, Reported, TrialEnded, events
from cogito_ray.runtime.tune.sweep_driver import run_sweep
from cogito_ray.sweeps.sweep_spec import SweepSpec

pytestmark = [pytest.mark.usefixtures("ray_cluster")]


def test_copies_go_on_from_their_parents_checkpoints_in_the_places_of_those_stopped(tmp_path):
    run = prepared_run(tmp_path, tmp_path / "runs")
    run["training"]["checkpoints"] = {"keep": 1, "milestone_every": 2}
    sweep = SweepSpec.model_validate(
        {
            "name": "population",
            "run": run,
            "space": {"training.optimizer.learning_rate": {"loguniform": [1e-5, 1e-2]}},
            "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
            "search": {"sampler": "random"},
            "early_stopping": {"kind": "population", "every": 2, "quantile": 0.5},
            "budget": {"trials": 4},
            "concurrency": 2,
        }
    )
    record = run_sweep(sweep, tmp_path / "runs")
    assert record.is_complete
    told = events(tmp_path / "runs" / "population" / NAME)
    assert sorted(event.trial for event in told if isinstance(event, TrialEnded)) == sorted(record.trials)
    copies = [trial for trial in record.trials.values() if trial.branch]
    stopped = [trial for trial in record.trials.values() if trial.status == "stopped"]
    assert len(copies) == len(stopped) > 0
    assert len(record.trials) - len(stopped) == 4
    rows = {(event.trial, event.step): event.rows for event in told if isinstance(event, Reported)}
    for copy in copies:
        _, step = copy.branch
        steps = [at for name, at in rows if name == copy.id]
        assert steps == [at for at in (2, 4, 6) if step < at <= copy.step]
        assert all(rows[copy.id, at] == rows[name, at] for name, at in rows if at in steps)  # the same rows for all
        assert f"resumed at step {step}" in copy.notes[0]
    assert all("among the worst" in trial.cause for trial in stopped)
