"""Gates: what may be written, and when one holds."""

import math

import pytest
from pydantic import ValidationError

from cogito_ray.gate_spec import Condition, GateSpec


def gate(condition):
    return GateSpec.model_validate({"if": condition, "then": "try slot attention"})


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("concepts/nuclear_rank < 20", True),
        ("concepts/nuclear_rank < 19", False),
        ("concepts/nuclear_rank >= 19", True),
        ("concepts/nuclear_rank >= 19.5", False),
        ("concepts/nuclear_rank <= 19 and eval/nats > 4.5", True),
        ("concepts/nuclear_rank <= 19 and eval/nats > 5", False),
        ("never/measured < 1", False),
    ],
)
def test_a_gate_holds_where_every_comparison_does(condition, holds):
    metrics = {"concepts/nuclear_rank": 19.0, "eval/nats": 5.0}
    assert gate(condition).holds([metrics]) == holds


@pytest.mark.parametrize(
    "condition",
    ["concepts/nuclear_rank", "rank ~ 3", "rank < 3 rank", "", "a < 1 or or b < 2", "(a < 1 and b < 2", "a < 3x",
     "__import__('os').system('ls') < 1", "f(a) < 1", "a == 1", "a < 1 < ", "a and b", "(a < 1) < 2", "a ** 2 < 1"],
)  # fmt: skip
def test_what_is_no_condition_is_refused(condition):
    with pytest.raises(ValidationError, match="is no condition; write it like concepts/nuclear_rank < 20"):
        gate(condition)


SEEN = {"rank": 19.0, "other/rank": 40.0, "labelled/stsb/probe/mean/pearson": 0.61, "broken": math.nan}


@pytest.mark.parametrize(
    ("condition", "truth"),
    [
        ("rank < other/rank", True),
        ("rank >= 64/128 * other/rank", False),
        ("labelled/stsb/probe/mean/pearson > 60 %", True),
        ("labelled/stsb/probe/mean/pearson > 65%", False),
        ("10 <= rank < 20", True),
        ("20 <= rank < 50", False),
        ("rank > other/rank or rank < 20", True),
        ("rank < 20 and not other/rank > 30", False),
        ("not (rank < 20 and other/rank > 50)", True),
        ("rank > 30 or rank < 20 and other/rank > 50", False),
        ("rank >= other/rank - 22", True),
        ("-rank < -18.5 + 0", True),
        ("absent < 1", None),
        ("not absent < 1", None),
        ("broken < 1", None),
        ("absent < 1 or rank < 20", True),
        ("absent < 1 and rank > 20", False),
    ],
)
def test_a_condition_is_true_false_or_untold(condition, truth):
    assert Condition(condition).judge(SEEN) is truth


def test_a_condition_names_each_metric_it_asks_for_once():
    asked = Condition("a/b < 3 and (mlm.a/b > c or not a/b > 1)").metrics
    assert asked == ("a/b", "mlm.a/b", "c")


def test_a_gate_that_concludes_nothing_is_refused():
    with pytest.raises(ValidationError, match="at least 1 character"):
        GateSpec.model_validate({"if": "a < 1", "then": ""})


def test_it_is_written_as_it_was_read():
    tree = {"if": "a < 1", "then": "b"}
    assert GateSpec.model_validate(tree).model_dump(mode="json") == tree
