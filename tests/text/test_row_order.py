"""The order of rows is a pure function of seed, position and weights."""

from hashlib import sha256

import numpy as np
import pytest

from cogito_ray.text.order.row_order import BLOCK, RowPlan, permuted, positions_of, share_of_batch

PLAN = RowPlan(rows=(700, 90, 11), weights=(3.0, 1.0, 0.5), seed=7)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 65, 1000, 4097])
def test_permuted_is_a_permutation(size: int) -> None:
    assert sorted(permuted(np.arange(size), size, (1, 2, 3))) == list(range(size))


def test_different_keys_permute_independently() -> None:
    first, second = (permuted(np.arange(10_000), 10_000, (key,)) for key in (1, 2))
    fixed_points = int((first == second).sum())
    assert fixed_points <= 8  # Poisson with mean 1: more has probability 1e-6
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05  # five standard deviations of 1 / sqrt(10,000)


@pytest.mark.parametrize("start", [0, 1, 999, 1000, 2345])
def test_any_position_is_reached_without_what_came_before(start: int) -> None:
    sources, rows = PLAN.take(0, 4000)
    tail_sources, tail_rows = PLAN.take(start, 1500)
    np.testing.assert_array_equal(tail_sources, sources[start : start + 1500])
    np.testing.assert_array_equal(tail_rows, rows[start : start + 1500])


def test_the_order_never_changes() -> None:
    """Runs that resume after an upgrade read on where they stopped: recorded when the first shards were written."""
    drawn = np.stack(PLAN.take(0, 5000)).astype("<i8")
    assert sha256(drawn.tobytes()).hexdigest()[:16] == "796f8a64f6498268"


def test_scattered_positions_hold_what_they_hold_in_a_row() -> None:
    positions = np.flatnonzero(np.random.default_rng(0).random(5000) < 0.1)
    whole, some = PLAN.take(0, 5000), PLAN.at(positions)
    np.testing.assert_array_equal([part[positions] for part in whole], some)


def test_each_worker_plans_its_own_positions() -> None:
    steps = range(3, 7)
    shares = [positions_of(steps, batch=6, rank=rank, world=2) for rank in range(2)]
    np.testing.assert_array_equal(np.hstack(shares), np.arange(18, 42).reshape(4, 6))


def test_each_block_holds_each_source_by_its_weight() -> None:
    sources, _ = PLAN.take(0, 3 * BLOCK)
    for block in sources.reshape(3, BLOCK):
        assert np.bincount(block).tolist() == [667, 222, 111]


def test_every_row_comes_once_per_epoch() -> None:
    sources, rows = PLAN.take(0, 10 * BLOCK)
    for source, size in enumerate(PLAN.rows):
        drawn = rows[sources == source]
        epochs = drawn[: len(drawn) // size * size].reshape(-1, size)
        assert all(sorted(epoch) == list(range(size)) for epoch in epochs)
        assert not np.array_equal(epochs[0], epochs[1])


def test_another_seed_is_another_order() -> None:
    other = RowPlan(PLAN.rows, PLAN.weights, seed=8)
    assert not np.array_equal(PLAN.take(0, 500)[1], other.take(0, 500)[1])


def test_nothing_taken_is_nothing() -> None:
    assert [len(part) for part in PLAN.take(1234, 0)] == [0, 0]


def test_workers_share_each_batch_in_order() -> None:
    shares = [share_of_batch(5, batch=12, rank=rank, world=3) for rank in range(3)]
    assert shares == [(60, 4), (64, 4), (68, 4)]


def test_a_batch_that_workers_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match="10 rows cannot be split evenly over 3 workers"):
        share_of_batch(0, batch=10, rank=0, world=3)


WEIGHTS = [
    (1.0, 0.0006),
    (1000.0, 1.0),
    (1.0, 1.5e-5, 2.3e-5),
    (1.0, 0.003, 4e-4),
    (3.0, 1.0, 0.5),
    (2.0, 1.0),
    (1.0, 1.0, 1.0),
    (38594, 14781, 17094),
    (0.7, 0.3),
    tuple(1 + 0.01 * number for number in range(300)),
    tuple(1.5**-number for number in range(40)),
]


@pytest.mark.parametrize("weights", WEIGHTS, ids=lambda weights: "-".join(f"{weight:.3g}" for weight in weights[:3]))
def test_each_source_has_exactly_its_share_of_all_rows_at_the_end_of_every_period(weights: tuple[float, ...]) -> None:
    plan = RowPlan((10,) * len(weights), weights, seed=0)
    for periods in (1, 2, 3, 7, 1000, 10**6):
        blocks = periods * plan.period
        exact = np.array(weights) / sum(weights) * blocks * BLOCK
        allowed = 0.5 + 0.5 * np.log(len(weights)) + 1e-12 * exact
        assert (np.abs(plan.drawn(blocks) - exact) <= allowed).all()
        assert plan.drawn(blocks).sum() == blocks * BLOCK


@pytest.mark.parametrize("weights", WEIGHTS, ids=lambda weights: "-".join(f"{weight:.3g}" for weight in weights[:3]))
def test_blocks_are_whole_and_no_source_is_drawn_less_often_in_more_of_them(weights: tuple[float, ...]) -> None:
    plan = RowPlan((10,) * len(weights), weights, seed=0)
    drawn = np.stack([plan.drawn(blocks) for blocks in range(210)])
    assert (np.diff(drawn.sum(axis=1)) == BLOCK).all()
    assert np.diff(drawn, axis=0).min() >= 0


def test_any_weights_are_kept_exactly() -> None:
    """Drawn at random, over nine orders of magnitude; no source is ever a row and a half away from its share."""
    random = np.random.default_rng(0)
    for _ in range(50):
        weights = tuple(10 ** random.uniform(-9, 0, size=random.integers(1, 6)))
        plan = RowPlan((10,) * len(weights), weights, seed=0)
        blocks = int(random.integers(1, 10**6)) * plan.period
        exact = np.array(weights) / sum(weights) * blocks * BLOCK
        assert np.abs(plan.drawn(blocks) - exact).max() < 1.5


@pytest.mark.parametrize("weights", [(1.0, 0.0006), (2.0, 1.0), (1.0, 0.003, 4e-4)])
def test_a_draw_stands_where_its_position_says(weights: tuple[float, ...]) -> None:
    plan = RowPlan((10,) * len(weights), weights, seed=0)
    for source, draw in ((0, 0), (0, 5), (1, 0), (1, 7), (1, 33_400), (0, 123_456)):
        place = plan.position(source, draw)
        assert [int(found[0]) for found in plan.draws(np.array([place]))] == [source, draw]


def test_a_small_source_is_neither_lost_nor_drawn_too_often() -> None:
    """1 : 0.0006 is three rows in five thousand."""
    sources, _ = RowPlan((10**6, 10), (1.0, 0.0006), seed=0).take(0, 50_030)
    assert (sources == 1).sum() == 30
    assert (sources[:5003] == 1).sum() == 3


def test_shares_that_a_thousand_rows_hold_are_made_exact_in_the_last_thousand_of_a_period_alone() -> None:
    """The order of mixtures whose weights were always kept well must not change."""
    plan = RowPlan((10, 10), (2.0, 1.0), seed=0)
    drawn = np.stack([plan.drawn(blocks) for blocks in range(101)])
    assert np.diff(drawn, axis=0).tolist() == [[667, 333]] * 99 + [[634, 366]]
