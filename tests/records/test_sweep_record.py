"""The record: every trial once, however often its sweep was interrupted."""

import pytest

from cogito_ray.records.ledger import (
    GateJudged,
    LedgerFault,
    Linked,
    Noted,
    Reported,
    SweepClosed,
    SweepOpened,
    TrialEnded,
    TrialPaused,
    TrialStarted,
)
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.sweep_record import fold
from cogito_ray.sweeps.goals.goal_spec import GoalSpec
from cogito_ray.text.data_digests import DataDigests

NATS = "eval/reconstruction_nats"
SPEC = {"goals": [{"metric": NATS, "mode": "min"}], "space": {"model.width": {"choice": [8, 16]}}}
OPENED = SweepOpened(
    at=0.0, spec=SPEC, sweep="s", provenance=Provenance(commit=None, dirty=False, versions={}, host="here")
)


def started(trial, number=0, at=1.0):
    spec = {"training": {"steps": 100}, "model": {"width": 8}}
    return TrialStarted(at=at, trial=trial, number=number, sample={"model.width": 8}, spec=spec)


def reported(trial, step, value, seconds=None):
    return Reported(trial=trial, step=step, seconds=step if seconds is None else seconds, metrics={NATS: value})


def ended(trial, status="completed", step=100, at=9.0):
    return TrialEnded(at=at, trial=trial, status=status, step=step)


def test_a_trial_has_its_curve_and_its_last_value():
    told = [reported("a", step, value) for step, value in ((50, 5.0), (75, 4.0), (100, 4.5))]
    record = fold([OPENED, started("a"), *told, ended("a")])
    trial = record.trials["a"]
    assert trial.curve(NATS) == [(50, 5.0), (75, 4.0), (100, 4.5)]
    assert trial.known[NATS] == 4.5
    assert (trial.status, trial.step, trial.steps, trial.seconds) == ("completed", 100, 100, 100.0)
    assert (record.goals, list(record.axes)) == ((GoalSpec(metric=NATS, mode="min"),), ["model.width"])


def test_a_trial_that_is_ended_while_it_waits_has_not_run_meanwhile():
    waits = TrialPaused(at=16.0, trial="a", step=50, cause="not among the best")
    over = ended("a", "stopped", 50, at=300.0)
    record = fold([OPENED, started("a"), reported("a", 50, 5.0, seconds=14.5), waits, over])
    assert (record.trials["a"].status, record.trials["a"].seconds) == ("stopped", 15.0)


def test_data_of_trials_and_corpora_are_named_however_often_a_sweep_is_taken_up_again():
    read = DataDigests("t", {"docs": "r"})
    opened = OPENED.model_copy(update={"data": {"corpus": read}})
    record = fold([opened, started("a").model_copy(update={"data": read}), OPENED])
    assert (record.data, record.trials["a"].data) == ({"corpus": read}, read)


def test_a_trial_taken_up_again_is_one_trial_with_each_step_once():
    before = [OPENED, started("a"), reported("a", 50, 5.0), reported("a", 75, 4.0)]
    again = [reported("a", 75, 4.0, seconds=80), reported("a", 100, 3.0, seconds=105)]
    record = fold([*before, OPENED, started("a", at=20.0), *again, ended("a")])
    assert list(record.trials) == ["a"]
    assert record.trials["a"].curve(NATS) == [(50, 5.0), (75, 4.0), (100, 3.0)]
    assert record.trials["a"].seconds == 105
    assert len(record.openings) == 2


def test_events_are_kept_in_the_order_they_came():
    told = [OPENED, started("a"), started("b", 1)]
    told += [reported("b", 50, 1.0), reported("a", 50, 2.0), reported("b", 75, 3.0)]
    assert fold(told).events == told


def test_a_trial_that_started_and_did_not_end_is_unfinished_also_after_a_new_start():
    assert fold([OPENED, started("a")]).trials["a"].status == "unfinished"
    assert fold([OPENED, started("a"), ended("a", "failed"), started("a")]).trials["a"].status == "unfinished"


def test_a_sweep_opened_again_is_no_longer_closed():
    assert fold([OPENED, SweepClosed(at=3.0, cause="done")]).closing.cause == "done"
    assert fold([OPENED, SweepClosed(at=3.0, cause="done"), OPENED]).closing is None


def test_where_else_it_can_be_looked_at_is_said_with_what_that_asks_for_and_only_while_it_works():
    dashboard = Linked(at=1.0, where="Ray dashboard", url="http://127.0.0.1:8265", asks="it asks for a token")
    record = fold([OPENED, dashboard, Linked(at=2.0, where="wandb", url="https://w/b")])
    assert record.shown_at == ["Ray dashboard: http://127.0.0.1:8265; it asks for a token", "wandb: https://w/b"]
    assert fold([OPENED, dashboard, SweepClosed(at=3.0, cause="complete")]).shown_at == []


def test_verdicts_of_a_sweep_opened_again_no_longer_hold():
    judged = GateJudged(condition="a < 1", then="b", holds=True, seen={})
    assert fold([OPENED, judged]).gates == [judged]
    assert fold([OPENED, judged, OPENED]).gates == []


def test_a_trial_that_died_before_its_first_report_still_took_time():
    trial = fold([OPENED, started("a", at=1.0), ended("a", "failed", step=0, at=9.0)]).trials["a"]
    assert trial.seconds == 8.0


@pytest.mark.parametrize("events", [[], [OPENED, reported("ghost", 1, 1.0)], [OPENED, ended("ghost")]])
def test_a_record_that_cannot_be_is_refused(events):
    with pytest.raises(LedgerFault, match=r"no sweep was opened|never started"):
        fold(events)


def test_notes_stand_in_the_order_of_their_steps_whoever_told_them():
    report = reported("a", 50, 5.0).model_copy(update={"notes": ("resumed at step 25",)})
    told = [report, Noted(trial="a", step=25, note="not answered: stsb"), reported("a", 75, 4.0)]
    notes = fold([OPENED, started("a"), *told]).trials["a"].notes
    assert notes == ["step 25: not answered: stsb", "step 50: resumed at step 25"]
