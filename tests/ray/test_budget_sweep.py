"""A budget under real Ray: trials leave, the sweep says what to type, and more of it finishes the work."""

from collections import Counter

import pytest
from corpora import prepared_run

from cogito_ray.records.ledger import NAME, TrialEnded, TrialPaused, TrialStarted, events
from cogito_ray.records.sweep_progress import spent
from cogito_ray.runtime.cluster import left_behind
from cogito_ray.runtime.tune.sweep_driver import run_sweep
from cogito_ray.sweeps.sweep_spec import SweepSpec

pytestmark = [pytest.mark.usefixtures("ray_cluster")]


def sweep_spec(folder, **budget):
    run = prepared_run(folder)
    run["training"] |= {"steps": 300, "report_every": 20, "checkpoint_every": 300}
    return SweepSpec.model_validate(
        {
            "name": "tiny",
            "run": run,
            "space": {"objective.rate": {"choice": [0.3, 0.4, 0.5, 0.6]}},
            "search": {"sampler": "grid"},
            "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
            "budget": {"trials": 4} | budget,
            "concurrency": 2,
        }
    )


def test_a_spent_budget_ends_trials_at_their_next_report_and_a_larger_one_finishes_them(tmp_path):
    spec, ledger = sweep_spec(tmp_path, cpu_hours=2 / 3600), tmp_path / "tiny" / NAME
    cut = run_sweep(spec, tmp_path)
    assert not cut.is_complete
    assert "of 0.0005556 hours are used" in cut.closing.cause
    assert "larger budget" in cut.closing.cause
    left = [event for event in events(ledger) if isinstance(event, TrialPaused)]
    assert 1 <= len(left) <= 2
    assert all("budget.cpu_hours" in event.cause for event in left)
    for event in (event for event in left if event.step):           # who had not begun has nothing to leave
        assert list((tmp_path / "tiny" / "trials" / event.trial / "checkpoints").glob(f"step-{event.step:08d}"))
    assert left_behind() == []

    same = run_sweep(spec, tmp_path)  # nothing is left to spend, so nothing starts
    assert same.closing.cause.startswith("budget.cpu_hours")
    assert not same.is_complete
    assert spent(same).cpu_hours == spent(cut).cpu_hours

    larger = spec.model_dump(mode="json") | {"budget": {"trials": 4, "wall": "1h"}}
    done = run_sweep(SweepSpec.model_validate(larger), tmp_path)
    assert done.is_complete
    assert [trial.status for trial in done.trials.values()] == ["completed"] * 4
    told = events(ledger)
    assert set(Counter(event.trial for event in told if isinstance(event, TrialEnded)).values()) == {1}
    assert sum(isinstance(event, TrialStarted) for event in told) == 4 + len(left)
    for event in left:  # no step that was paid for was done again
        steps = [step for step, _ in done.trials[event.trial].curve("eval/reconstruction_nats")]
        assert steps == list(range(20, 301, 20))
