"""Verdicts: gates judged on the best trials, certificates of rungs, and where readers find them."""

import math

import pytest

from cogito_ray.records.ledger import (
    NAME,
    Evaluated,
    GateJudged,
    Ledger,
    Reported,
    SweepClosed,
    SweepOpened,
    TaskScore,
    TrialEnded,
    TrialStarted,
    events,
)
from cogito_ray.records.pages.report_page import write
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.results.gate_results import judge, looks
from cogito_ray.records.results.measure_certificates import measure_certificates
from cogito_ray.records.sweep_record import fold, read
from cogito_ray.runtime.evaluation.checkpoint_evaluation import judge_again

NATS, RANK = "eval/reconstruction_nats", "concepts/effective_rank"
ONE = [{"metric": NATS, "mode": "min"}]
TWO = [*ONE, {"metric": RANK, "mode": "max"}]
GATE = {"if": f"{RANK} < 5", "then": "try slot attention"}
ORIGIN = Provenance(commit=None, dirty=False, versions={}, host="here")


def story(trials, **spec):
    """Events of completed trials, each (nats at 10, nats at 40, rank)."""
    spec = {"goals": ONE, "space": {"seed": {"choice": [1]}}, "name": "tiny", "gates": [GATE]} | spec
    told = [SweepOpened(at=0.0, spec=spec, sweep="s", provenance=ORIGIN)]
    for number, (early, late, rank) in enumerate(trials):
        name, run = f"t{number}", {"training": {"steps": 40}}
        told.append(TrialStarted(at=0.0, trial=name, number=number, sample={"seed": 1}, spec=run))
        for step, value in ((10, early), (40, late)):
            told.append(Reported(trial=name, step=step, seconds=1.0, metrics={NATS: value, RANK: rank}))
        told.append(TrialEnded(at=1.0, trial=name, status="completed", step=40))
    return told


@pytest.mark.parametrize(
    ("goals", "trials", "holds", "seen"),
    [
        (ONE, [(7, 4.0, 3.0), (7, 5.0, 9.0)], True, {"t0": {RANK: 3.0}}),
        (ONE, [(7, 4.0, 9.0), (7, 5.0, 3.0)], False, {"t0": {RANK: 9.0}}),
        (TWO, [(7, 4.0, 3.0), (7, 5.0, 9.0)], False, {"t0": {RANK: 3.0}, "t1": {RANK: 9.0}}),
        (TWO, [(7, 4.0, 3.0), (7, 5.0, 4.0)], True, {"t0": {RANK: 3.0}, "t1": {RANK: 4.0}}),
        (ONE, [], False, {}),
    ],
)
def test_a_gate_is_judged_on_the_winner_or_on_the_whole_front(goals, trials, holds, seen):
    [verdict] = judge(fold(story(trials, goals=goals)))
    assert (verdict.holds, verdict.seen) == (holds, seen)
    assert verdict.then == "try slot attention"


def test_gates_of_a_run_on_its_own_and_of_a_promotion_are_judged_like_a_sweeps():
    others = {"gates": [], "run": {"gates": [GATE]}, "promote": {"gates": [GATE | {"then": "promote"}]}}
    assert [(told.then, told.holds) for told in judge(fold(story([(7, 4.0, 3.0)], **others)))] == [
        ("try slot attention", True),
        ("promote", True),
    ]


def test_a_metric_that_was_not_measured_survives_the_ledger_as_such(tmp_path):
    gates = [{"if": "eval/nothing < 1", "then": "no"}]
    told = story([(7, 4.0, 3.0)], gates=gates)
    with Ledger(tmp_path / NAME) as ledger:
        for event in [*told, *judge(fold(told))]:
            ledger.append(event)
    [verdict] = [event for event in events(tmp_path / NAME) if isinstance(event, GateJudged)]
    assert math.isnan(verdict.seen["t0"]["eval/nothing"])
    assert not read(tmp_path / NAME).gates[0].holds


def test_rungs_are_certified_where_there_are_any_and_else_a_few_early_looks():
    trials = [(5 + n / 10, 4 + n / 10, 3.0) for n in range(8)]
    found = looks(fold(story(trials, early_stopping={"kind": "asha", "first_rung": 10, "eta": 3})))
    assert [(look.goal, look.step) for look in found] == [(NATS, 10), (NATS, 30)]
    assert found[0].found.tau == pytest.approx(1)
    assert not found[0].found.weak
    assert [look.step for look in looks(fold(story(trials, goals=TWO)))] == [10, 20, 30] * 2


def test_measures_are_certified_against_a_target_where_both_were_reported_and_by_what_is_better_of_each():
    told = fold(story([(7 - n / 10, 4 - n / 10, n) for n in range(8)]))     # nats fall as the rank rises
    early, late = measure_certificates(told, RANK, steps=[10, 40])
    assert (early.measure, early.step, late.step) == (NATS, 10, 40)
    assert (early.found.tau, late.found.tau) == (pytest.approx(1), pytest.approx(1))
    crossed = fold(story([(7 + n / 10, 4 - n / 10, n) for n in range(8)]))
    [same], [later] = (measure_certificates(crossed, NATS, steps=[10], until=until) for until in (None, 40))
    assert (same.found.tau, later.found.tau) == (pytest.approx(-1), pytest.approx(1))
    with pytest.raises(ValueError, match=f"no trial reported eval/none; reported are: {RANK}, {NATS}"):
        measure_certificates(told, RANK, measures=["eval/none"])


def test_an_early_look_is_at_what_the_policy_saw_and_at_completed_trials_alone():
    crossed = [(5 - n / 10, 4 + n / 10, 3.0) for n in range(8)]  # early and late orders are reversed
    told = story(crossed, early_stopping={"kind": "asha", "first_rung": 10, "eta": 3})
    told[-1] = told[-1].model_copy(update={"status": "stopped"})
    first, second = looks(fold(told))
    assert (first.found.trials, first.found.tau) == (7, pytest.approx(-1))
    assert (second.step, second.found.tau) == (30, pytest.approx(1))  # nothing was reported at 30: 40 was seen


def test_the_report_shows_what_a_gate_says_and_which_looks_are_weak(tmp_path):
    told = story([(5 + n % 2, 4 + n / 10, 3.0) for n in range(8)])
    with Ledger(tmp_path / NAME) as ledger:
        for event in [*told, *judge(fold(told)), SweepClosed(at=2.0, cause="complete")]:
            ledger.append(event)
    page = write(tmp_path).read_text()
    assert "<b>try slot attention</b>" in page
    assert "How early could one tell?" in page
    assert "weak: " in page


def test_a_gate_over_a_labelled_score_is_judged_when_that_is_asked_after_the_sweep(tmp_path):
    gates = [{"if": "labelled/stsb/probe/pearson > 60 %", "then": "scale up"}]
    told = story([(7, 4.0, 3.0)], gates=gates)
    with Ledger(tmp_path / NAME) as ledger:
        for event in [*told, *judge(fold(told)), SweepClosed(at=2.0, cause="complete")]:
            ledger.append(event)
        assert [gate.holds for gate in read(tmp_path / NAME).gates] == [False]
        score = TaskScore(vectors="mean", baseline=False, metric="pearson", value=0.61, low=0.6, high=0.7)
        asked = {"task": "stsb", "protocol": "probe", "settings": {}, "seed": 0, "examples": 9, "seconds": 1.0}
        asked |= {"at": 3.0, "trial": "t0", "step": 40, "key": "k", "checkpoint": "c", "code": "v"}
        ledger.append(Evaluated(**asked, scores=(score,)))
    judge_again(tmp_path / NAME)
    assert [gate.holds for gate in read(tmp_path / NAME).gates] == [True]
