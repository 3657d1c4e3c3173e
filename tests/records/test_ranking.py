"""Ranking: only what ran to its end has a rank; the rest is listed honestly."""

import math

import pytest

from cogito_ray.records.ledger import Reported, SweepOpened, TrialEnded, TrialStarted
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.ranking import plain, rank
from cogito_ray.records.record import fold

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
