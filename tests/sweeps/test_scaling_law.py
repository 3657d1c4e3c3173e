"""A law that made a ladder is found again in it, and intervals hold what they should."""

import numpy as np
import pytest

from cogito_ray.sweeps.statistics.scaling_law import (
    ITS_WEIGHT,
    USUAL_MISS,
    Rung,
    Unforecastable,
    forecast_loss,
    forecast_trend,
    next_miss,
)


def law(parameters, tokens):
    return 2.5 + 0.6 * (parameters / 1e5) ** -0.3 + 1.5 * (tokens / 1e5) ** -0.4


def ladder(parameters=(1e5, 2e5, 4e5), tokens=(1e5, 2e5, 4e5), noise=0.0, seed=0):
    random = np.random.default_rng(seed)
    return [Rung(n, d, law(n, d) * np.exp(noise * random.standard_normal())) for n in parameters for d in tokens]


def test_a_run_ten_times_as_dear_as_the_largest_rung_is_foretold_within_two_in_a_hundred():
    found = forecast_loss(ladder(), 8e5, 2e6)
    assert found.value == pytest.approx(law(8e5, 2e6), rel=0.02)
    assert found.low < law(8e5, 2e6) < found.high


def width(found):
    return found.high - found.low


def test_the_interval_grows_with_the_distance_from_the_ladder_and_with_the_noise_of_its_runs():
    rungs = ladder(parameters=(1e5,))
    at, near, far = (forecast_loss(rungs, 1e5, tokens) for tokens in (4e5, 8e5, 4e6))
    assert width(at) < width(near) < width(far)
    seeds = [rung for seed in range(3) for rung in ladder(parameters=(1e5,), noise=0.02, seed=seed)]
    assert width(forecast_loss(seeds, 1e5, 4e5)) > 2 * width(at)


def test_after_any_number_of_misses_the_next_one_is_foretold_nine_times_in_ten():
    random = np.random.default_rng(0)
    for seen in (0, 1, 4):
        spread = USUAL_MISS * np.sqrt(ITS_WEIGHT / random.chisquare(ITS_WEIGHT, 1000))      # of each ladder's misses
        misses = spread[:, None] * random.standard_normal((1000, seen + 1))
        held = np.mean([abs(last) <= next_miss(before) for *before, last in misses])
        assert held == pytest.approx(0.9, abs=0.03)                                         # three standard errors


def test_earlier_forecasts_that_missed_widen_an_interval_and_those_that_held_narrow_it():
    rungs = ladder(parameters=(1e5,))
    good, none, bad = (width(forecast_loss(rungs, 1e5, 2e6, past=past)) for past in ([0.005] * 9, [], [2.0] * 9))
    assert good < none < bad


def test_a_ladder_of_one_size_of_model_says_nothing_of_parameters():
    found = forecast_loss(ladder(parameters=(1e5,)), 1e5, 1.6e6)
    assert "N" not in found.law
    assert found.low < law(1e5, 1.6e6) < found.high


def test_the_same_ladder_gives_the_same_forecast():
    rungs = ladder(parameters=(1e5,))
    assert forecast_loss(rungs, 1e5, 2e6) == forecast_loss(rungs, 1e5, 2e6)


def test_one_odd_run_moves_a_forecast_by_less_than_its_interval():
    rungs = ladder()
    odd = [*rungs[:-2], Rung(rungs[-2].parameters, rungs[-2].tokens, rungs[-2].value * 1.05), rungs[-1]]
    plain, bent = forecast_loss(rungs, 8e5, 2e6), forecast_loss(odd, 8e5, 2e6)
    assert bent.low < plain.value < bent.high


@pytest.mark.parametrize(
    ("rungs", "why"),
    [
        (ladder(parameters=(1e5,), tokens=(1e5, 2e5)), "2 sizes"),
        ([*ladder(), Rung(1e5, 1e5, float("nan"))], "no finite positive loss"),
        ([*ladder(), Rung(1e5, 1e5, -1.0)], "no finite positive loss"),
    ],
)
def test_a_ladder_that_cannot_tell_says_so(rungs, why):
    with pytest.raises(Unforecastable, match=why):
        forecast_loss(rungs, 8e5, 2e6)


def test_the_interval_of_a_model_that_has_only_begun_to_learn_tells_of_faster_learning_and_of_none():
    begun = [Rung(1e5, tokens, value) for tokens, value in ((1e5, 5.62), (2e5, 5.38), (4e5, 5.14))]
    found = forecast_loss(begun, 1e5, 8e5)
    assert found.low < 4.75 < 5.14 < found.high             # reached with twice the tokens; the largest rung's


def test_a_ladder_that_does_not_foretell_its_own_largest_rung_is_trusted_less():
    below = ladder(parameters=(1e5,), tokens=(1e5, 2e5, 4e5))
    plain, wide = (
        forecast_loss([*below, Rung(1e5, 8e5, law(1e5, 8e5) * off)], 1e5, 3.2e6) for off in (1, 0.85)
    )
    assert width(wide) > 3 * width(plain)


def test_a_goal_that_is_no_loss_is_foretold_only_where_the_ladder_shows_its_order_and_not_further_than_it_is_long():
    ranks = [Rung(1e5, tokens, 10 + 2 * place) for place, tokens in enumerate((1e5, 2e5, 4e5))]
    found = forecast_trend(ranks, 1e5, 8e5)
    assert found.value == pytest.approx(16)
    assert found.low <= found.value <= found.high
    with pytest.raises(Unforecastable, match="spans 4x of compute"):
        forecast_trend(ranks, 1e5, 3.2e6)
    with pytest.raises(Unforecastable, match="do not rise or fall"):
        forecast_trend([*ranks, Rung(1e5, 8e5, 11.0)], 1e5, 1.6e6)
