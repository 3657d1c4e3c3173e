"""Gates: rules that say what a result means, such as `if: concepts/nuclear_rank < 20, then: try slot attention`."""

import ast
import math
import operator
import re
from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from cogito_ray.base_spec import Spec, brief

TOKEN = re.compile(
    r"(?P<number>(?<![\w.])(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?:\s*%|/\d+)?(?![\w.]))|(?P<word>\b(?:and|or|not)\b)"
    r"|(?P<metric>[A-Za-z_][\w-]*(?:[./][\w-]+)*)|(?P<sign><=|>=|<|>|[-+*()\s])|(?P<other>.)"
)
"""A number, also as `65 %` or `64/128`; a word; a metric; a sign; what stands in no condition."""
COMPARE = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
SIGNS = {ast.LtE: "<=", ast.GtE: ">=", ast.Lt: "<", ast.Gt: ">"}
ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
Values = Mapping[str, float]


class Condition:
    """Comparisons of metrics with numbers and with each other, joined by `and`, `or`, `not` and parentheses.

    `20 <= a < 64/128 * b`, `a > 65 %`, `a >= b - 0.02 or not c < 3`. Parsed as Python's grammar has it, never run.
    ValueError where the text is none.
    """

    def __init__(self, text: str):
        found = [(token.lastgroup, token[0]) for token in TOKEN.finditer(text)]
        self.metrics = tuple(dict.fromkeys(part for kind, part in found if kind == "metric"))
        """That it asks for, each once."""
        written = {"number": lambda part: repr(_number(part)), "metric": lambda part: f"m{self.metrics.index(part)}"}
        try:
            self._tree = ast.parse("".join(written.get(str(kind), str)(part) for kind, part in found), mode="eval").body
            self._truth(self._tree, {})
        except (SyntaxError, TypeError, ValueError):    # the last of a number that is too large
            way_out = "concepts/nuclear_rank < 20 and eval/word_content_auc > 60 %"
            raise ValueError(f"{brief(text)} is no condition; write it like {way_out}") from None

    def judge(self, values: Values) -> bool | None:
        """Does it hold? None: that cannot be told, for something was not measured or is NaN (Kleene's logic)."""
        return self._truth(self._tree, values)

    def _truth(self, node: ast.AST, values: Values) -> bool | None:
        match node:
            case ast.BoolOp(op, parts):
                found, decides = [self._truth(part, values) for part in parts], isinstance(op, ast.Or)
                return decides if decides in found else None if None in found else not decides
            case ast.UnaryOp(ast.Not(), part):
                return None if (truth := self._truth(part, values)) is None else not truth
            case ast.Compare(first, signs, others) if all(type(sign) in SIGNS for sign in signs):
                numbers = [self._value(side, values) for side in (first, *others)]
                holds = map(lambda sign, *two: COMPARE[SIGNS[type(sign)]](*two), signs, numbers, numbers[1:])
                return None if any(map(math.isnan, numbers)) else all(holds)
        raise TypeError(node)

    def _value(self, node: ast.AST, values: Values) -> float:
        match node:
            case ast.Constant(float(number)):
                return number
            case ast.Name(name):
                return values.get(self.metrics[int(name[1:])], math.nan)
            case ast.UnaryOp(ast.USub(), part):
                return -self._value(part, values)
            case ast.BinOp(left, sign, right) if type(sign) in ARITHMETIC:
                return float(ARITHMETIC[type(sign)](self._value(left, values), self._value(right, values)))
        raise TypeError(node)


def _number(text: str) -> float:
    top, slash, bottom = text.rstrip("% ").partition("/")
    return float(top) / (float(bottom) if slash else 100.0 if text.endswith("%") else 1.0)


SOUND = AfterValidator(lambda text: text if Condition(text) else "")
ConditionText = Annotated[str, SOUND, Field(examples=["concepts/nuclear_rank < 20"])]


class GateSpec(Spec):
    """Judged when a sweep or run ends, and when it was evaluated: on the winner, or on every trial of the front."""

    model_config = ConfigDict(serialize_by_alias=True)

    condition: Annotated[ConditionText, Field(alias="if")]
    """Metrics compared by < <= > >= with numbers (65 % and 64/128 are some) and with each other, in sums and products;
    joined by and, or, not and parentheses. `labelled/stsb/zero-shot/mean/spearman` is a labelled score: task, protocol,
    vectors or baseline, metric; without vectors, that of the best which are no baseline. Of several settings the best
    counts, or those named before the metric: `labelled/mrpc/fine-tune/queries/head-queries-4/f1`."""
    then: Annotated[str, Field(min_length=1)]
    """What follows if it holds."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """That it asks for."""
        return Condition(self.condition).metrics

    def holds(self, every: Iterable[Values]) -> bool:
        """For each of these. What cannot be told, because something was not measured, does not hold."""
        condition = Condition(self.condition)
        return all(condition.judge(values) is True for values in every)


def placed(where: str, gates: Iterable[GateSpec]) -> dict[str, GateSpec]:
    """By their dotted places below `where`."""
    return {f"{where}.{index}": gate for index, gate in enumerate(gates)}
