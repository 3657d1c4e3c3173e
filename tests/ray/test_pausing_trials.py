"""A sweep whose trials pause at rungs, under Ray: nothing is trained twice, and everybody ends once."""

import pytest
from corpora import prepared_run

from cogito_ray.records.ledger import NAME, Reported, TrialEnded, TrialPaused, events
from cogito_ray.runtime.tune.sweep_driver import run_sweep
from cogito_ray.sweeps.sweep_spec import SweepSpec

pytestmark = [pytest.mark.usefixtures("ray_cluster")]


def test_trials_that_pause_are_promoted_from_their_checkpoint_or_end_as_stopped(tmp_path):
    sweep = SweepSpec.model_validate(
        {
            "name": "pausing",
            "run": prepared_run(tmp_path, tmp_path / "runs"),
            "space": {"training.optimizer.learning_rate": {"choice": [1e-5, 1e-4, 1e-3, 1e-2]}},
            "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
            "search": {"sampler": "grid"},
            "early_stopping": {"kind": "asha", "first_rung": 2, "eta": 2},
            "budget": {"trials": 4},
            "concurrency": 2,
        }
    )
    record = run_sweep(sweep, tmp_path / "runs")
    assert record.is_complete
    told = events(tmp_path / "runs" / "pausing" / NAME)
    assert sorted(event.trial for event in told if isinstance(event, TrialEnded)) == sorted(record.trials)
    steps = {name: [e.step for e in told if isinstance(e, Reported) and e.trial == name] for name in record.trials}
    assert all(walked == sorted(set(walked)) for walked in steps.values())
    assert {event.trial for event in told if isinstance(event, TrialPaused)} & {
        name for name, walked in steps.items() if walked[-1] > 2
    }
    stopped = [trial for trial in record.trials.values() if trial.step < 6]
    assert stopped
    assert all("not among the best 1/2 at rung" in trial.cause for trial in stopped)
    assert any(trial.step == 6 for trial in record.trials.values())
