"""Ranking: only what ran to its end has a rank; the rest is listed honestly."""

import math

import pytest

from cogito_ray.records.ledger import Reported, SweepOpened, TrialEnded, TrialStarted
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.results.trial_ranking import plain, rank
from cogito_ray.records.sweep_record import fold

NATS = "eval/reconstruction_nats"


def ranking(trials, mode="min", metric=NATS, unigram=7.3):
    """trials: (status or None, {step: value}, settings) each."""
    spec = {"goals": [{"metric": metric, "mode": mode}], "space": {"model.token_width": {"choice": [0.5]}}}
    origin = Provenance(commit=None, dirty=False, versions={}, host="here")
    told = [SweepOpened(at=0.0, spec=spec, sweep="s", provenance=origin)]
    for number, (status, curve) in enumerate(trials):
        name, run = f"t{number}", {"training": {"steps": 100}, "model": {"token_width": 32}}
        sample = {"model.token_width": 0.5}
        told.append(TrialStarted(at=0.0, trial=name, number=number, sample=sample, spec=run))
        for step, value in curve.items():
            metrics = {metric: value, "concepts/effective_rank": 3.0, "eval/unigram_nats": unigram}
            told.append(Reported(trial=name, step=step, seconds=1.0, metrics=metrics))
        if status:
            told.append(TrialEnded(at=1.0, trial=name, status=status, step=max(curve, default=0), cause="a reason"))
    return rank(fold(told))


@pytest.mark.parametrize(("mode", "order"), [("min", [1, 2, 0]), ("max", [0, 2, 1])])
def test_completed_trials_are_ranked_by_their_last_value(mode, order):
    curves = [{50: 1.0, 100: 6.0}, {100: 4.0}, {100: 5.0}]
    rows = ranking([("completed", curve) for curve in curves], mode).rows
    assert [row.number for row in rows] == order
    assert [row.rank for row in rows] == [1, 2, 3]


def test_a_stopped_trial_has_no_rank_even_with_the_better_value_and_the_reader_is_told():
    result = ranking([("stopped", {50: 3.0}), ("completed", {100: 4.0})])
    assert [(row.number, row.rank) for row in result.rows] == [(1, 1), (0, None)]
    assert result.winner.number == 1
    assert "no rank" in result.footnote


def test_below_the_ranked_come_stopped_ones_farthest_first_then_unfinished_then_failed():
    trials = [
        ("failed", {75: 1.0}),
        (None, {50: 1.0}),
        ("stopped", {25: 2.0}),
        ("stopped", {50: 9.0}),
        ("completed", {100: 8.0}),
        ("stopped", {50: 8.0}),
    ]
    assert [row.number for row in ranking(trials).rows] == [4, 5, 3, 2, 1, 0]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_completed_trial_without_a_finite_value_is_not_ranked_and_says_so(value):
    row = ranking([("completed", {100: value})]).rows[0]
    assert (row.rank, row.note) == (None, f"reported no finite {NATS}")


def test_an_empty_sweep_has_no_winner_and_no_rows():
    result = ranking([])
    assert (result.winner, result.rows, result.footnote) == (None, (), "")


def test_a_failed_trial_says_when_and_why():
    assert ranking([("failed", {75: 1.0})]).rows[0].note == "at step 75 of 100: a reason"


def test_a_ratio_is_shown_as_the_size_it_became_with_its_fraction():
    assert ranking([("completed", {100: 1.0})]).rows[0].settings == {"model.token_width": "32 (0.5)"}


def test_the_constant_predictors_line_is_for_metrics_in_nats_alone():
    assert ranking([("completed", {100: 1.0})]).unigram_nats == 7.3
    assert ranking([("completed", {100: 1.0})], metric="time/tokens_per_s").unigram_nats is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (3, "3"), (0.1 + 0.2, "0.3"), (41234.5, "41,234"), (1e-5, "1e-05"), ("a", "a")],
)
def test_values_are_written_for_people(value, text):
    assert plain(value) == text


RANK = "concepts/effective_rank"
TWO = [{"metric": NATS, "mode": "min"}, {"metric": RANK, "mode": "max"}]


def several(trials, goals=TWO, **spec):
    """Trials of (status, nats, rank), the ranking of a sweep with several goals."""
    spec = {"goals": goals, "space": {}} | spec
    origin = Provenance(commit=None, dirty=False, versions={}, host="here")
    told = [SweepOpened(at=0.0, spec=spec, sweep="s", provenance=origin)]
    for number, (status, *values) in enumerate(trials):
        name, metrics = f"t{number}", dict(zip((NATS, RANK), values, strict=True))
        told.append(TrialStarted(at=0.0, trial=name, number=number, sample={}, spec={"training": {"steps": 100}}))
        told.append(Reported(trial=name, step=100, seconds=1.0, metrics=metrics))
        told.append(TrialEnded(at=1.0, trial=name, status=status, step=100))
    return rank(fold(told))


def test_several_goals_give_fronts_and_no_winner():
    result = several(("completed", *values) for values in [(4.0, 2.0), (6.0, 9.0), (5.0, 1.0), (4.5, 8.0)])
    assert {row.number: row.front for row in result.rows} == {0: 1, 1: 1, 2: 2, 3: 1}
    assert [row.rank for row in result.rows] == [1, 2, 3, 4]
    assert result.winner is None
    assert {row.number for row in result.best} == {0, 1, 3}
    assert "which to prefer is yours to say" in result.footnote


def test_within_a_front_comes_first_what_it_would_lose_most_without():
    result = several(("completed", *values) for values in [(4.0, 0.0), (6.0, 10.0), (4.1, 0.5), (4.5, 9.0)])
    assert result.rows[0].number == 3
    assert result.rows[-1].number == 0  # an end of the front, but next to another point


def test_a_trial_that_breaks_a_constraint_has_no_rank_and_says_why():
    trials = [("completed", 4.0, 2.0), ("completed", 5.0, 8.0), ("completed", 6.0, 4.0), ("stopped", 3.0, 9.0)]
    result = several(trials, goals=TWO[:1], constraints={RANK: ">= 5"})
    assert [(row.number, row.rank) for row in result.rows] == [(1, 1), (2, None), (0, None), (3, None)]
    assert result.winner.number == 1
    assert result.rows[1].note == f"{RANK} 4, not >= 5"
    assert "break a constraint" in result.footnote
