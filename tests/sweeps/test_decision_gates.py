"""Gates: what may be written, and when one holds."""

import pytest
from pydantic import ValidationError

from cogito_ray.sweeps.goals.gate_spec import GateSpec


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
    assert gate(condition).holds(metrics) == holds


@pytest.mark.parametrize("condition", ["concepts/nuclear_rank", "rank ~ 3", "rank < three", "", "a < 1 or b < 2"])
def test_what_is_no_comparison_is_refused(condition):
    with pytest.raises(ValidationError, match="is no comparison with a number"):
        gate(condition)


def test_a_gate_that_concludes_nothing_is_refused():
    with pytest.raises(ValidationError, match="at least 1 character"):
        GateSpec.model_validate({"if": "a < 1", "then": ""})


def test_it_is_written_as_it_was_read():
    tree = {"if": "a < 1", "then": "b"}
    assert GateSpec.model_validate(tree).model_dump(mode="json") == tree
