"""Domains: what they list, what samplers get, what they refuse."""

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from pydantic import TypeAdapter, ValidationError

from cogito_ray.sweeps.space.domains import Domain, is_inexact, is_unordered, reads, setting
from cogito_ray.sweeps.space.optuna_distributions import contains, distribution

PARSE = TypeAdapter(Domain).validate_python


def no_lookup(path: str) -> float:
    raise AssertionError(f"{path} was looked up")


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ({"choice": [8, 16]}, (8, 16)),
        ({"choice": [None, True, 1, "a"]}, (None, True, 1, "a")),
        ({"grid": [0.1, 0.2]}, (0.1, 0.2)),
        ({"preset": {"none": [], "one": [{"kind": "variance"}]}}, ("none", "one")),
        ({"randint": [2, 4]}, (2, 3, 4)),
        ({"randint": [2, 9], "step": 3}, (2, 5, 8)),
        ({"uniform": [0.1, 0.5], "step": 0.1}, (0.1, 0.2, 0.3, 0.4, 0.5)),
        ({"uniform": [0.0, 1.0], "step": 0.4}, (0.0, 0.4, 0.8)),
        ({"uniform": [0.0, 1.0]}, None),
        ({"loguniform": [1e-3, 1.0]}, None),
        ({"ratio": {"of": "model.width", "choice": [0.25, 1.0]}}, (0.25, 1.0)),
        ({"ratio": {"of": "model.width", "uniform": [0.25, 1.0]}}, None),
    ],
)
def test_a_domain_lists_exactly_its_values(written, values):
    listed = PARSE(written).values()
    assert (listed if listed is None else tuple(listed)) == values


@pytest.mark.parametrize(
    ("written", "extremes"),
    [
        ({"uniform": [0.0, 1.0]}, (0.0, 1.0)),
        ({"uniform": [0.0, 1.0], "step": 0.4}, (0.0, 0.8)),
        ({"loguniform": [1e-3, 1.0]}, (1e-3, 1.0)),
        ({"randint": [2, 9], "step": 3}, (2, 8)),
        ({"choice": [3, 1, 2]}, (3, 1, 2)),
    ],
)
def test_extremes_are_values_that_a_sampler_can_draw(written, extremes):
    domain = PARSE(written)
    drawn = distribution(domain)
    assert domain.extremes() == extremes
    assert all(contains(drawn, value) for value in extremes)


@pytest.mark.parametrize(
    "written",
    [
        {"choice": [8, 16]},
        {"grid": [0.1, 0.2]},
        {"preset": {"none": []}},
        {"bundle": {"small": {"model.width": 64}}},
        {"uniform": [0.1, 0.5]},
        {"uniform": [0.1, 0.5], "step": 0.1},
        {"loguniform": [1e-3, 1.0]},
        {"randint": [2, 9], "step": 3},
        {"ratio": {"of": "model.width", "choice": [0.25, 1.0]}},
        {"ratio": {"of": "model.width", "uniform": [0.25, 1.0]}},
    ],
)
def test_what_is_unordered_or_inexact_is_so_to_optuna(written):
    domain = PARSE(written)
    drawn = distribution(domain)
    assert is_unordered(domain) == isinstance(drawn, CategoricalDistribution)
    assert is_inexact(domain) == isinstance(drawn, FloatDistribution)


def test_a_preset_puts_its_sub_tree_and_a_sampler_sees_its_name():
    domain = PARSE({"preset": {"deep": {"kind": "position", "depth": 4}}})
    assert distribution(domain).choices == ("deep",)
    assert setting(domain, "deep", no_lookup) == {"kind": "position", "depth": 4}


def test_a_step_that_a_sampler_computed_inexactly_is_the_value_it_stands_for():
    domain = PARSE({"uniform": [0.3, 0.9], "step": 0.1})
    assert setting(domain, 0.3 + 3 * 0.1, no_lookup) == 0.6 != 0.3 + 3 * 0.1


def test_a_ratio_puts_its_fraction_of_the_number_it_reads():
    domain = PARSE({"ratio": {"of": "model.width", "choice": [0.25]}})
    assert reads(domain) == ("model.width",)
    assert setting(domain, 0.25, {"model.width": 64.0}.__getitem__) == 16.0


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ({"uniform": [2, 2]}, "the range 2.0 to 2.0 is empty"),
        ({"uniform": [0, 1], "step": 2}, "step 2.0 is larger than the range"),
        ({"loguniform": [0, 1]}, "loguniform needs positive bounds, got 0.0"),
        ({"randint": [3, 2]}, "the range 3 to 2 is empty"),
        ({"choice": []}, "at least 1 item"),
        ({"choice": [1, 2, 1]}, "1 stands here more than once"),
        ({"choice": [[1, 2]]}, "valid"),
        ({"grid": [1, 2, 1]}, "1 stands here more than once"),
        ({"preset": {}}, "at least 1 item"),
        ({"loguniform": [1, 1]}, "the range 1.0 to 1.0 is empty"),
        ({"uniform": [0, 1], "step": 0}, "greater than 0"),
        ({"randint": [0, 9], "step": 0}, "greater than 0"),
        ({"ratio": {"of": "model.width", "choice": []}}, "at least 1 item"),
        ({"ratio": {"of": "model.width", "choice": [-0.5]}}, "greater than 0"),
        ({"ratio": {"of": "model.width", "uniform": [0, 0.5]}}, "greater than 0"),
        ({"ratio": {"of": "model.width"}}, "say of which path and which fractions"),
        ({"ratio": {"of": "model.width", "uniform": [1, 0.5]}}, "the range 1.0 to 0.5 is empty"),
        ({"uniform": [-1e308, 1e308], "step": 1}, r"makes more than 2\^53 values"),
        ({"choose": [1]}, "a mapping with one of choice, uniform"),
        ({"choice": [1], "grid": [1]}, "Extra inputs"),
        (3, "a mapping with one of choice, uniform"),
    ],
)
def test_a_domain_refuses_what_cannot_be_drawn_from(written, fault):
    with pytest.raises(ValidationError, match=fault):
        PARSE(written)


@pytest.mark.parametrize(("value", "inside"), [(0.5, True), (1.5, False), ("half", False), (None, False)])
def test_a_domain_tells_what_it_holds_from_what_it_does_not_and_from_what_is_no_number(value, inside):
    assert contains(distribution(PARSE({"uniform": [0, 1]})), value) == inside


def test_values_of_a_fine_step_are_told_apart_without_being_listed():
    fine = PARSE({"uniform": [0.1, 0.9], "step": 1e-12}).values()
    assert len(fine) == 8 * 10**11 + 1
    assert (fine[0], fine[1], fine[-1], list(fine[2:4])) == (0.1, 0.100000000001, 0.9, [0.100000000002, 0.100000000003])
    assert 0.3 in fine
    assert 0.30000000000001 not in fine
    assert "0.3" not in fine
