"""How far a sweep is: what is left follows from its forecast and the rate so far, and who is where from the ledger."""

import pytest

from cogito_ray.records.ledger import Reported, SweepClosed, SweepOpened, TrialEnded, TrialPaused, TrialStarted
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.sweep_progress import progress
from cogito_ray.records.sweep_record import fold

NATS = "eval/reconstruction_nats"
RUN = {"training": {"steps": 100}, "cpus_per_worker": 2}


def opening(at=0.0, **changed):
    spec = {"goals": [{"metric": NATS, "mode": "min"}], "space": {"objective.rate": {"uniform": [0, 1]}}}
    origin = Provenance(commit=None, dirty=False, versions={}, host="here")
    return SweepOpened(at=at, spec=spec | {"budget": {"trials": 4}} | changed, sweep="s", provenance=origin)


def ran(number, steps, *, since=0.0, until=100.0, run=RUN):
    """A trial that started then, and reported its last step then."""
    name = f"t{number}"
    reported = Reported(trial=name, step=steps, seconds=until - since, metrics={NATS: 5.0})
    return [TrialStarted(at=since, trial=name, number=number, sample={}, spec=run), reported]


def ended(number, status="completed", at=100.0):
    return TrialEnded(at=at, trial=f"t{number}", status=status, step=0)


def test_what_is_left_takes_as_long_as_what_was_done():
    record = fold([opening(), *ran(0, 100), *ran(1, 100), ended(0), ended(1)])
    assert progress(record, 100.0).left_s == pytest.approx(100)


def test_the_time_before_the_first_trial_is_no_rate_of_trials():
    record = fold([opening(), *ran(0, 100, since=60), *ran(1, 100, since=60), ended(0), ended(1)])
    assert progress(record, 100.0).left_s == pytest.approx(40)


def test_early_stopping_leaves_less():
    stopping = {"kind": "asha", "first_rung": 10, "eta": 3, "mode": "pause"}
    many = {"budget": {"trials": 90}}
    done = [*ran(0, 10), TrialPaused(at=100, trial="t0", step=10, cause="worse")]
    plain, halved = (
        progress(fold([opening(**many, **more), *done]), 100.0).left_s for more in ({}, {"early_stopping": stopping})
    )
    assert halved < 0.5 * plain


def test_steps_that_a_failed_trial_does_not_need_are_not_waited_for():
    record = fold([opening(), *ran(0, 100), *ran(1, 20), ended(0), ended(1, "failed")])
    assert progress(record, 100.0).left_s == pytest.approx(100 * (400 - 120 - 80) / 120)


def test_a_trial_that_runs_alone_at_the_end_is_waited_for():
    stopping = {"kind": "asha", "first_rung": 10, "eta": 3, "mode": "stop"}
    others = [event for number in range(3) for event in (*ran(number, 90), ended(number, "stopped"))]
    record = fold([opening(early_stopping=stopping), *others, *ran(3, 90)])
    assert progress(record, 100.0).left_s == pytest.approx(10 * 100 / 90)


def test_a_budget_that_is_spent_before_ends_the_wait():
    record = fold([opening(budget={"trials": 4, "wall": "150s"}), *ran(0, 100), ended(0)])
    far = progress(record, 100.0)
    assert far.left_s == pytest.approx(50)
    assert far.budget["trials"] == (1, 4)
    assert far.budget["wall"] == pytest.approx((100 / 3600, 150 / 3600))


def test_hours_of_trials_under_way_count_until_now():
    record = fold([opening(budget={"trials": 4, "cpu_hours": 9}), *ran(0, 10)])
    assert progress(record, 3600.0).budget["cpu_hours"] == pytest.approx((2, 9))
    assert progress(record).budget["cpu_hours"] == pytest.approx((200 / 3600, 9))


def test_nothing_tells_before_the_first_report_and_nothing_is_left_after_the_end():
    assert progress(fold([opening()]), 10.0).left_s is None
    assert progress(fold([opening(), *ran(0, 100), ended(0), SweepClosed(at=101, cause="complete")])).left_s == 0


def test_trials_are_counted_by_where_they_stand():
    events = [*ran(0, 100), *ran(1, 50), *ran(2, 10), ended(0), TrialPaused(at=9, trial="t1", step=50, cause="worse")]
    assert progress(fold([opening(), *events])).trials == {"running": 1, "waiting": 1, "queued": 1, "over": 1}


def test_what_ran_under_a_driver_that_was_killed_is_queued():
    record = fold([opening(), *ran(0, 10), opening(at=200.0)])
    assert progress(record, 200.0).trials == {"running": 0, "waiting": 0, "queued": 4, "over": 0}


def test_no_more_trials_are_to_come_than_there_are_points():
    small = {"space": {"objective.rate": {"choice": [0.1, 0.2]}}, "budget": {"trials": 50}}
    assert progress(fold([opening(**small), *ran(0, 10)])).trials["queued"] == 1


def test_of_a_run_the_last_reports_tell_how_fast_it_is():
    run = opening(space={}, budget=None)
    slow = [Reported(trial="t0", step=step, seconds=step * 10.0, metrics={}) for step in range(1, 11)]
    fast = [Reported(trial="t0", step=step, seconds=100 + step - 10, metrics={}) for step in range(11, 31)]
    record = fold([run, *ran(0, 1, until=10), *slow, *fast])
    assert progress(record, 120.0).left_s == pytest.approx(70)
