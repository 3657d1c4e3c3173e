"""Importances: the axis that moves the goal is found, and what cannot be told is not told."""

import math
import random

import pytest

from cogito_ray.records.ledger import Reported, SweepOpened, TrialEnded, TrialStarted
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.results import hyperparameter_importance
from cogito_ray.records.results.hyperparameter_importance import LEAST_TRIALS, common_step, importances
from cogito_ray.records.sweep_record import fold

NATS = "eval/reconstruction_nats"
SPACE = {"objective.rate": {"uniform": [0.0, 1.0]}, "model.latents": {"preset": {"plain": {}, "anchored": {}}}}


def record(trials, space=SPACE):
    """trials: (sample, {step: value}, status or None) each."""
    spec = {"goals": [{"metric": NATS, "mode": "min"}], "space": space}
    origin = Provenance(commit=None, dirty=False, versions={}, host="here")
    told = [SweepOpened(at=0.0, spec=spec, sweep="s", provenance=origin)]
    for number, (sample, curve, status) in enumerate(trials):
        name = f"t{number}"
        told.append(TrialStarted(at=0.0, trial=name, number=number, sample=sample, spec={}))
        told += [Reported(trial=name, step=s, seconds=1.0, metrics={NATS: value}) for s, value in curve.items()]
        if status:
            told.append(TrialEnded(at=1.0, trial=name, status=status, step=max(curve, default=0)))
    return fold(told)


def point(rate, start="plain"):
    return {"objective.rate": rate, "model.latents": start}


def test_the_axis_that_moves_the_goal_has_nearly_all_of_the_share():
    draw = random.Random(0)
    trials = []
    for _ in range(40):
        sample = point(draw.random(), draw.choice(["plain", "anchored"]))
        trials.append((sample, {10: 5.0 + 2.0 * (sample["model.latents"] == "plain")}, "completed"))
    first, second = importances(record(trials), NATS).shares
    assert first.path == "model.latents"
    assert first.share > 0.95
    assert first.share + second.share == pytest.approx(1)
    assert first.low <= first.share <= first.high


def test_trials_are_compared_at_the_last_of_the_steps_that_most_reached_accidents_left_out():
    trials = [
        (point(0.1), {10: 1.0, 20: 1.0, 30: 1.0}, "completed"),
        (point(0.2), {10: 1.0, 20: 1.0}, "stopped"),
        (point(0.3), {10: 1.0}, "failed"),
        (point(0.4), {10: 1.0}, None),
    ]
    assert common_step(record(trials), NATS) == 20
    assert common_step(record(trials[2:]), NATS) is None
    assert common_step(record([]), NATS) is None


def test_trials_without_a_finite_value_are_left_out_and_counted(monkeypatch):
    monkeypatch.setattr(hyperparameter_importance, "RESAMPLES", 2)  # what is asked here does not hang on the ranges
    draw, trials = random.Random(0), []
    for status in ["stopped", "failed", "completed"]:
        trials.append((point(draw.random()), {10: math.nan, 20: math.nan}, status))
    for _ in range(20):
        rate = draw.random()
        trials.append((point(rate, draw.choice(["plain", "anchored"])), {10: rate, 20: rate}, "completed"))
    found = importances(record(trials), NATS)
    assert (found.step, found.trials) == (20, 20)
    assert found.shares[0].path == "objective.rate"
    assert found.caveat == "3 of 23 trials without a finite value there left out"


def test_a_step_that_more_trials_reached_is_taken_before_a_later_one():
    trials = [(point(n / 20), {10: 1.0, 20: n / 20}, "completed") for n in range(12)]
    assert common_step(record([*trials, (point(0.9), {10: 1.0}, "stopped")]), NATS) == 10
    assert common_step(record([*trials, (point(0.9), {10: math.nan}, "stopped")]), NATS) == 20


@pytest.mark.parametrize("count", [0, 1, LEAST_TRIALS - 1])
def test_too_few_trials_tell_nothing(count):
    found = importances(record([(point(n / 10), {10: float(n)}, "completed") for n in range(count)]), NATS)
    assert found.shares == ()
    assert "too few to tell" in found.caveat


def test_equal_values_leave_nothing_to_explain():
    found = importances(record([(point(n / 10), {10: 1.0}, "completed") for n in range(9)]), NATS)
    assert found.shares == ()
    assert "nothing to explain" in found.caveat


def test_an_axis_that_some_trials_lack_has_no_share_and_is_named(monkeypatch):
    monkeypatch.setattr(hyperparameter_importance, "RESAMPLES", 2)  # what is asked here does not hang on the ranges
    draw, trials = random.Random(0), []
    for number in range(20):
        sample = {"objective.rate": draw.random(), "model.latents": "anchored"}
        trials.append((sample | ({"model.latents.gain": 0.5} if number % 2 else {}), {10: draw.random()}, "completed"))
    gain = {"model.latents.gain": {"uniform": [0.0, 1.0], "when": {"model.latents": "anchored"}}}
    found = importances(record(trials, SPACE | gain), NATS)
    assert {share.path for share in found.shares} == set(SPACE)
    assert found.caveat == "model.latents.gain varies in some trials only: no share"


def test_of_more_trials_than_can_be_fitted_quickly_some_are_drawn_and_it_is_said(monkeypatch):
    monkeypatch.setattr(hyperparameter_importance, "RESAMPLES", 1)
    monkeypatch.setattr(hyperparameter_importance, "MOST_TRIALS", 20)
    trials = [(point(n / 50, "plain" if n % 3 else "anchored"), {10: n / 50}, "completed") for n in range(50)]
    found = importances(record(trials), NATS)
    assert found.trials == 50
    assert found.shares[0].path == "objective.rate"
    assert found.caveat == "20 of them, drawn at random, were compared"
