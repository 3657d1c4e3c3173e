"""The order in which text is read: like the order of kept rows, but no row is far from the others of its part."""

from itertools import pairwise

import numpy as np
import pytest

from cogito_ray.text.order.block_shuffle import WindowPlan
from cogito_ray.text.order.row_order import BLOCK, RowPlan

PARTS = ((30, 0, 41, 7, 100, 23, 55, 60, 1, 90), (20, 35, 35))
PLAN = WindowPlan(RowPlan(tuple(map(sum, PARTS)), (3.0, 1.0), seed=7), PARTS)


def test_every_row_comes_once_per_epoch_in_another_order() -> None:
    sources, rows = PLAN.at(np.arange(4 * BLOCK))
    for source, parts in enumerate(PARTS):
        drawn = rows[sources == source]
        epochs = drawn[: len(drawn) // sum(parts) * sum(parts)].reshape(-1, sum(parts))
        assert all(sorted(epoch) == list(range(sum(parts))) for epoch in epochs)
        assert not np.array_equal(epochs[0], epochs[1])


def test_sources_are_mixed_as_where_rows_were_kept() -> None:
    positions = np.arange(2 * BLOCK)
    np.testing.assert_array_equal(PLAN.at(positions)[0], PLAN.mixture.at(positions)[0])


@pytest.mark.parametrize("start", [0, 1, 999, 1000, 2345])
def test_any_position_is_reached_without_what_came_before(start: int) -> None:
    whole = PLAN.at(np.arange(4000))
    tail = PLAN.at(np.arange(start, start + 1500))
    np.testing.assert_array_equal([part[start : start + 1500] for part in whole], tail)


def test_rows_are_shuffled_within_a_window_of_parts() -> None:
    part_of = np.repeat(np.arange(len(PARTS[0])), PARTS[0])
    windows = list(PLAN.windows(0, 0, sum(PARTS[0])))
    sources, rows = PLAN.at(np.arange(BLOCK))
    drawn = rows[sources == 0][: sum(PARTS[0])]
    for window in windows:
        inside = drawn[window.first : window.end]
        assert set(part_of[inside]) == set(window.parts)
        assert (np.diff(inside) < 0).any()


def test_the_first_windows_grow_and_those_of_later_epochs_have_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cogito_ray.text.order.block_shuffle.WINDOW", 4)
    plan = WindowPlan(PLAN.mixture, PARTS)
    rows = sum(PARTS[0])
    first, second = (list(plan.windows(0, epoch * rows, (epoch + 1) * rows)) for epoch in (0, 1))
    assert [len(window.parts) for window in first] == [1, 2, 4, 2]
    assert [len(window.parts) for window in second] == [4, 4, 1]
    assert all(before.end == after.first for before, after in pairwise([*first, *second]))


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 3000), (1234, 2600), (999, 1001)])
def test_reads_are_the_windows_that_are_drawn_from(start: int, stop: int) -> None:
    sources, draws = PLAN.mixture.draws(np.arange(start, stop))
    wanted = {(int(s), w.first) for s, d in zip(sources, draws, strict=True) for w in PLAN.windows(s, d, d + 1)}
    reads = list(PLAN.reads(start, stop))
    assert {(window.source, window.first) for _, window in reads} == wanted
    places = [place for place, _ in reads]
    assert places == sorted(places)
    begun = {int(source): int(draws[sources == source][0]) for source in np.unique(sources)}
    for place, window in reads:
        first = (int(sources[place - start]), int(draws[place - start]))
        assert place == start or first == (window.source, window.first)
        assert place > start or window.first <= begun[window.source]
