"""What figures of concepts should be. One table; where a bound comes from stands beside it.

Two questions are kept apart, because a regulariser can buy one at the price of the other: are concepts diverse, and do
they mean anything?
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    PASS = "pass"
    POOR = "poor"
    CRITICAL = "critical"


class Question(StrEnum):
    DIVERSITY = "Are concepts diverse?"
    MEANING = "Do they mean anything?"


class Conclusion(StrEnum):
    COLLAPSED = "Collapsed: the concepts of a text are nearly one."
    EMPTY = "Diverse, but meaningless: what the text says cannot be read from its concepts."
    UNKNOWN = "Diverse; whether concepts mean anything was not asked, for want of held-out rows."
    WEAK = "Neither collapsed nor empty, but weak: nothing is critical among what decides, yet not all of it passes."
    SOUND = "Sound: concepts are diverse, and what the text says can be read from them."


@dataclass(frozen=True)
class Target:
    """A value that is at least as good as `good` passes, one that is worse than `bad` is critical."""

    figure: str
    label: str
    question: Question
    good: float
    """Above `bad` where more is better."""
    bad: float
    source: str
    decides: bool = False
    """Does the conclusion rest on it?"""

    def verdict(self, value: float) -> Verdict:
        """NaN is critical."""
        sign = 1 if self.good > self.bad else -1
        if sign * value >= sign * self.good:
            return Verdict.PASS
        return Verdict.POOR if sign * value >= sign * self.bad else Verdict.CRITICAL


@dataclass(frozen=True)
class Finding:
    target: Target
    value: float
    verdict: Verdict


GOAL = "the research group's goal (64 of 128) and the bound at which it stops a run (30 %)"
BOUNDS = "the research group's bounds in its own analyses of checkpoints"
OF_128 = "the research group's bounds, 50 and 10 of 128"
SEEN = "small models trained with this program: what learned and what did not"
CHANCE = "chance is 0.5; small models that learned reach the upper bound"
TARGETS = (
    Target("effective_rank_share", "effective rank of a text's concepts, of what is possible", Question.DIVERSITY,
           0.5, 0.3, GOAL, decides=True),
    Target("mean_nuclear_rank_share", "nuclear rank of the mean concepts, of what is possible", Question.DIVERSITY,
           0.5, 0.3, GOAL),
    Target("mean_first_share", "share of the first singular value of the mean concepts", Question.DIVERSITY,
           0.3, 0.5, BOUNDS),
    Target("mean_directions_for_95_percent_share", "directions for 95 % of the mean concepts, of what is possible",
           Question.DIVERSITY, 0.39, 0.08, OF_128),
    Target("participation_share", "participation ratio of all concepts, of the width", Question.DIVERSITY,
           0.3, 0.1, BOUNDS),
    Target("active_dimensions_share", "dimensions that are not collapsed", Question.DIVERSITY, 0.99, 0.9, BOUNDS),
    Target("cosine_mean", "mean absolute cosine of two concepts", Question.DIVERSITY, 0.3, 0.5, BOUNDS),
    Target("cosine_largest_of_text", "largest cosine of two concepts of a text", Question.DIVERSITY, 0.6, 0.8, BOUNDS),
    Target("closeness", "closeness of concepts on the sphere", Question.DIVERSITY, 0.3, 0.6, BOUNDS),
    Target("duplicates_share", "concepts with a duplicate (cosine above 0.95)", Question.DIVERSITY, 0.01, 0.1, SEEN),
    Target("word_content_auc", "which words a text holds, by a linear map", Question.MEANING, 0.65, 0.55, CHANCE,
           decides=True),
    Target("word_order_accuracy", "in which order they stand, by a linear map", Question.MEANING, 0.57, 0.53, CHANCE),
    Target("length_explained", "how long a text is, by a linear map", Question.MEANING, 0.5, 0.1, SEEN),
    Target("text_share", "variance of concepts that lies between texts", Question.MEANING, 0.2, 0.02, SEEN),
)  # fmt: skip


def judge(figures: Mapping[str, float]) -> list[Finding]:
    """In the table's order; a figure that was not measured is left out."""
    return [
        Finding(target, figures[target.figure], target.verdict(figures[target.figure]))
        for target in TARGETS
        if target.figure in figures
    ]


def conclude(findings: Sequence[Finding]) -> Conclusion:
    """From the findings that decide, one for each question. Collapse comes first: it makes meaning impossible."""
    told = {found.target.question: found.verdict for found in findings if found.target.decides}
    if told[Question.DIVERSITY] is Verdict.CRITICAL:
        return Conclusion.COLLAPSED
    if Question.MEANING not in told:
        return Conclusion.UNKNOWN
    if told[Question.MEANING] is Verdict.CRITICAL:
        return Conclusion.EMPTY
    return Conclusion.SOUND if set(told.values()) == {Verdict.PASS} else Conclusion.WEAK
