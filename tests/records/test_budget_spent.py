"""What was spent is told by the ledger, however often the sweep was interrupted."""

import pytest

from cogito_ray.records.ledger import Reported, SweepClosed, SweepOpened, TrialEnded, TrialPaused, TrialStarted
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.sweep_progress import spent
from cogito_ray.records.sweep_record import fold

ORIGIN = Provenance(commit=None, dirty=False, versions={}, host="here")
TWO_GPUS = {"workers": 2, "cpus_per_worker": 3.0, "gpus_per_worker": 1.0}


def opened(at):
    return SweepOpened(at=at, spec={}, sweep="s", provenance=ORIGIN)


def started(at, trial="a"):
    return TrialStarted(at=at, trial=trial, number=0, sample={}, spec=TWO_GPUS)


def reported(step, seconds):
    return Reported(trial="a", step=step, seconds=seconds, metrics={})


def test_a_trial_spends_what_it_holds_from_its_start_to_its_end():
    story = [opened(0.0), started(100.0), reported(5, 900.0), TrialEnded(at=3700.0, trial="a", status="failed", step=5)]
    total = spent(fold(story))
    assert (total.gpu_hours, total.cpu_hours, total.wall_s) == (2.0, 6.0, 3700.0)


def test_a_trial_that_left_and_came_back_spends_only_while_it_runs():
    left = TrialPaused(at=1800.0, trial="a", step=5, cause="gone")
    ended = TrialEnded(at=10900.0, trial="a", status="completed", step=9)
    first = [opened(0.0), started(0.0), left, SweepClosed(at=1900.0, cause="")]
    record = fold([*first, opened(9000.0), started(9100.0), reported(7, 1900.0), ended])
    assert spent(record).gpu_hours == 2.0
    assert spent(record).wall_s == 1900.0 + 1900.0


def test_further_runs_of_finalists_spend_like_trials():
    again = TrialStarted(at=100.0, trial="b", number=0, sample={}, spec=TWO_GPUS, replicates="a")
    ended = [TrialEnded(at=3700.0, trial=name, status="completed", step=5) for name in ("a", "b")]
    assert spent(fold([opened(0.0), started(100.0), again, *ended])).gpu_hours == 4.0


def test_after_a_kill_time_is_known_up_to_the_last_report():
    story = [opened(0.0), started(10.0), reported(5, 1800.0), opened(5000.0), started(5010.0), reported(6, 1860.0)]
    record = fold(story)
    assert spent(record).gpu_hours == pytest.approx(2 * 1860 / 3600)
    assert spent(record).wall_s == 1810.0 + 70.0


def test_who_left_is_unfinished_and_says_why_until_it_is_taken_up_again():
    story = [opened(0.0), started(0.0), reported(5, 9.0), TrialPaused(at=10.0, trial="a", step=5, cause="budget gone")]
    trial = fold(story).trials["a"]
    assert (trial.status, trial.cause, trial.step) == ("unfinished", "budget gone", 5)
    assert fold([*story, opened(20.0), started(21.0)]).trials["a"].cause == ""
