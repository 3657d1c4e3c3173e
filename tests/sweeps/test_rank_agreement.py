"""The certificate: against plain cases and scipy's tau."""

import random

import numpy as np
import pytest
from scipy.stats import kendalltau

from cogito_ray.sweeps.statistics.rank_agreement import LEAST_TRIALS, _taus, certify

FINAL = {f"t{n}": float(n) for n in range(12)}


def noisy(scale, seed=0):
    draw = random.Random(seed)
    return {name: value + draw.gauss(0, scale) for name, value in FINAL.items()}


def test_the_same_order_is_sound_and_costs_nothing():
    found = certify({name: value**3 for name, value in FINAL.items()}, FINAL)
    assert (found.tau, found.regret, found.span) == (pytest.approx(1), 0.0, 11.0)
    assert not found.weak
    assert found.verdict.startswith("sound")


def test_a_reversed_order_is_weak_and_costs_the_whole_span():
    found = certify({name: -value for name, value in FINAL.items()}, FINAL)
    assert (found.tau, found.regret) == (pytest.approx(-1), 11.0)
    assert found.verdict.startswith("weak")


def test_tau_is_kendalls_and_lies_in_its_interval():
    early = noisy(4.0)
    found = certify(early, FINAL)
    assert found.tau == pytest.approx(kendalltau([early[name] for name in FINAL], list(FINAL.values())).statistic)
    assert found.low < found.tau < found.high


def test_tau_of_a_resample_is_kendalls_of_its_trials_as_often_as_it_holds_them():
    draw = np.random.default_rng(3)
    one, two = draw.integers(0, 4, 9), draw.integers(0, 4, 9)  # with ties
    times = draw.multinomial(9, [1 / 9] * 9, size=20)
    taus = [kendalltau(np.repeat(one, held), np.repeat(two, held)).statistic for held in times]
    np.testing.assert_allclose(_taus(one, two, times.astype(float)), np.nan_to_num(taus))  # nan: nothing is ordered


def test_noise_makes_it_weak():
    assert not certify(noisy(0.3), FINAL).weak
    assert certify(noisy(30.0), FINAL).weak


def test_what_was_seen_only_once_or_is_not_finite_is_left_out():
    found = certify(FINAL | {"lost": 1.0}, FINAL | {"new": -9.0, "t0": float("nan")})
    assert found.trials == 11


@pytest.mark.parametrize("count", [0, LEAST_TRIALS - 1])
def test_too_few_trials_tell_nothing_and_are_not_relied_on(count):
    few = dict(list(FINAL.items())[:count])
    found = certify(few, few)
    assert found.tau is None
    assert found.weak
    assert "too few to tell" in found.verdict


def test_a_look_that_orders_nothing_has_no_correlation():
    assert certify(dict.fromkeys(FINAL, 1.0), FINAL).tau == 0.0


def test_it_is_the_same_every_time():
    assert certify(noisy(4.0), FINAL) == certify(noisy(4.0), FINAL)
