"""Points of a space: counted however many they are, each listed once, corners that no hole hides, others drawn."""

from itertools import combinations, islice, product

import pytest
from pydantic import TypeAdapter

from cogito_ray.sweeps.space.domains import Domain
from cogito_ray.sweeps.space.space_points import DRAWN, FEW, combined, corners, count, drawn, in_order, listing, within

PARSE = TypeAdapter(dict[str, Domain]).validate_python
NESTED = PARSE(
    {
        "a": {"choice": [1, 2, 3]},
        "b": {"randint": [0, 4], "when": {"a": [1, 2]}},
        "c": {"uniform": [0.0, 1.0], "step": 0.25, "when": {"b": 3}},
        "d": {"preset": {"x": {}, "y": {}}},
    }
)
"""In an order in which each axis stands after those it depends on."""


def values(space):
    return {path: domain.values() for path, domain in space.items()}


def every(space):
    """By brute force: as the last axis counts first."""
    found = (within(space, dict(zip(space, point, strict=True))) for point in product(*values(space).values()))
    return list({repr(point): point for point in found}.values())


def test_each_point_of_a_conditional_space_is_listed_once_and_counted():
    assert list(combined(NESTED, values(NESTED))) == every(NESTED)
    assert count(NESTED, values(NESTED)) == len(every(NESTED)) == 2 * (1 + 2 * (4 + 5))


def test_points_come_in_the_order_of_the_axes_that_are_named():
    turned = ["d", "a", "b", "c"]
    places = [
        [list(NESTED[path].values()).index(point[path]) if path in point else 0 for path in turned]
        for point in in_order(NESTED, values(NESTED), (), turned)
    ]
    assert places == sorted(places)
    assert len(places) == len(every(NESTED))


def test_points_that_are_left_out_are_not_listed():
    hole = {"a": 3, "d": "x"}
    assert list(combined(NESTED, values(NESTED), [hole])) == [
        point for point in every(NESTED) if not hole.items() <= point.items()
    ]


def test_what_cannot_be_listed_is_counted_and_begun():
    space = PARSE(
        {
            "seed": {"randint": [0, 2**31 - 1]},
            "rate": {"uniform": [0.0, 1.0], "step": 1e-12},
            "share": {"choice": [1, 2], "when": {"seed": 7}},
        }
    )
    assert count(space, values(space)) == (2**31 + 1) * (10**12 + 1)
    assert list(islice(combined(space, values(space)), 2)) == [{"seed": 0, "rate": 0.0}, {"seed": 0, "rate": 1e-12}]
    assert listing(space, ()) is None


def test_every_pair_of_extremes_is_tried_though_its_point_with_the_others_at_their_first_is_left_out():
    space = PARSE({"a": {"choice": [0, 1]}, "b": {"choice": [0, 1]}, "c": {"choice": [0, 1]}, "d": {"uniform": [0, 1]}})
    holes = [{"a": 0, "b": 1}, {"a": 1, "b": 0}]
    found = list(corners(space, holes))
    assert not any(hole.items() <= corner.items() for hole in holes for corner in found)
    for one, two in combinations("abcd", 2):
        pairs = {(corner[one], corner[two]) for corner in found}
        assert pairs == ({(0, 0), (1, 1)} if (one, two) == ("a", "b") else set(product((0, 1), repeat=2)))


def test_a_single_point_that_holes_leave_is_found():
    space = PARSE({name: {"choice": list(range(8))} for name in "abc"})
    holes = [{"a": a, "b": b} for a, b in product(range(8), repeat=2) if (a, b) != (7, 7)]
    holes += [{"a": 7, "c": c} for c in range(7)]
    assert list(corners(space, holes)) == [{"a": 7, "b": 7, "c": 7}]


def test_corners_of_long_axes_are_few_and_hold_every_value():
    space = PARSE({name: {"choice": list(range(200))} for name in "abc"})
    found = list(corners(space, ()))
    assert len(found) <= FEW
    for name in "abc":
        assert {corner[name] for corner in found} == set(range(200))
    assert len(list(corners(PARSE({"a": {"choice": list(range(10**4))}}), ()))) <= FEW


def test_drawn_points_are_always_the_same_and_lie_in_the_space():
    space = PARSE(
        {
            "kind": {"choice": ["x", "y"]},
            "rate": {"loguniform": [1e-3, 1.0]},
            "share": {"ratio": {"of": "rate", "uniform": [0.5, 2.0]}, "when": {"kind": "x"}},
            "count": {"randint": [2, 64], "step": 2},
        }
    )
    found = drawn(space, [{"kind": "x", "count": 4}])
    assert found == drawn(space, [{"kind": "x", "count": 4}])
    assert len(found) == DRAWN
    assert {("share" in point) == (point["kind"] == "x") for point in found} == {True}
    assert all(1e-3 <= point["rate"] <= 1.0 and point["count"] % 2 == 0 for point in found)
    assert sum(point["rate"] < 0.03 for point in found) == pytest.approx(DRAWN / 2, abs=DRAWN / 8)     # of its log
    assert not any(point["kind"] == "x" and point["count"] == 4 for point in found)
