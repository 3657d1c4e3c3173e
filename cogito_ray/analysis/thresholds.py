"""What metrics of concepts should be. One table; where a bound comes from stands beside it.

Two questions are kept apart, because a regulariser can buy one at the price of the other: are concepts diverse, and do
they mean anything?
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Rating(StrEnum):
    """Of one metric against its thresholds."""

    PASS = "pass"
    POOR = "poor"
    CRITICAL = "critical"


class Question(StrEnum):
    """What a metric is evidence of."""

    DIVERSITY = "Are concepts diverse?"
    MEANING = "Do they mean anything?"


class Conclusion(StrEnum):
    """What an analysis comes to, in a sentence."""

    COLLAPSED = "Collapsed: the concepts of a text are nearly one."
    EMPTY = "Diverse, but meaningless: what the text says cannot be read from its concepts."
    UNKNOWN = "Diverse; whether concepts mean anything was not asked, for want of held-out rows."
    WEAK = "Neither collapsed nor empty, but weak: not all passes that decides."
    SOUND = "Sound: concepts are diverse, and what the text says can be read from them."


@dataclass(frozen=True)
class Threshold:
    """A value that is at least as good as `good` passes, one that is worse than `bad` is critical."""

    metric: str
    label: str
    question: Question
    good: float
    """Above `bad` where more is better."""
    bad: float
    source: str
    decides: bool = False
    """Does the conclusion rest on it?"""

    def rate(self, value: float) -> Rating:
        """NaN is critical."""
        sign = 1 if self.good > self.bad else -1
        if sign * value >= sign * self.good:
            return Rating.PASS
        return Rating.POOR if sign * value >= sign * self.bad else Rating.CRITICAL


@dataclass(frozen=True)
class Assessment:
    """A metric, measured and rated."""

    threshold: Threshold
    value: float
    rating: Rating


GOAL = "the research group's goal (64 of 128) and the bound at which it stops a run (30 %)"
BOUNDS = "the research group's bounds in its own analyses of checkpoints"
OF_128 = "the research group's bounds, 50 and 10 of 128"
SEEN = "small models trained with this program: what learned and what did not"
CHANCE = "chance is 0.5; small models that learned reach the upper bound"
PROBED = ("word_content_auc", "word_order_accuracy", "length_explained")
THRESHOLDS = (
    Threshold("effective_rank_share", "effective rank of a text's concepts, of what is possible", Question.DIVERSITY,
              0.5, 0.3, GOAL, decides=True),
    Threshold("mean_nuclear_rank_share", "nuclear rank of the mean concepts (“Eff. Rank” of older logs), of what is "
              "possible", Question.DIVERSITY, 0.5, 0.3, GOAL, decides=True),
    Threshold("mean_first_share", "share of the first singular value of the mean concepts", Question.DIVERSITY,
              0.3, 0.5, BOUNDS),
    Threshold("mean_directions_for_95_percent_share", "directions for 95 % of the mean concepts, of what is possible",
           Question.DIVERSITY, 0.39, 0.08, OF_128),
    Threshold("participation_share", "participation ratio of all concepts, of the width", Question.DIVERSITY,
              0.3, 0.1, BOUNDS),
    Threshold("active_dimensions_share", "dimensions that are not collapsed", Question.DIVERSITY, 0.99, 0.9, BOUNDS),
    Threshold("cosine_mean", "mean absolute cosine of two concepts", Question.DIVERSITY, 0.3, 0.5, BOUNDS),
    Threshold("cosine_largest_of_text", "largest cosine of two concepts of a text", Question.DIVERSITY,
              0.6, 0.8, BOUNDS),
    Threshold("closeness", "closeness of concepts on the sphere", Question.DIVERSITY, 0.3, 0.6, BOUNDS),
    Threshold("intrinsic_dimension", "dimensions of the surface that concepts lie on (TwoNN)", Question.DIVERSITY,
              20, 10, "the research group's goal (20), and half of it"),
    Threshold("duplicates_share", "concepts with a duplicate (cosine above 0.95)", Question.DIVERSITY, 0.01, 0.1, SEEN),
    Threshold("word_content_auc", "which words a text holds, by a linear map", Question.MEANING, 0.65, 0.55, CHANCE,
              decides=True),
    Threshold("word_order_accuracy", "in which order they stand, by a linear map", Question.MEANING,
              0.57, 0.53, CHANCE),
    Threshold("length_explained", "how long a text is, by a linear map", Question.MEANING, 0.5, 0.1, SEEN),
    Threshold("text_share", "variance of concepts that lies between texts", Question.MEANING, 0.2, 0.02, SEEN),
)  # fmt: skip


POOLED_COSTS = ("pooled_spectrum_decay", "pooled_normality_gap")
POOLED = ("pooled_effective_rank", *POOLED_COSTS, "pooled_lidar", "pooled_information_nats")
"""Of the mean concepts of texts; no bound of these is known to tell meaning (docs/findings.md)."""
REPORTED = {
    f"analysis/{metric}": metric
    for metric in (*(one.metric for one in THRESHOLDS if one.metric not in PROBED), *POOLED)
}
"""Those that a run may report, under these names; what is probed has its own, below eval/."""


LESS_IS_BETTER = {one.metric for one in THRESHOLDS if one.good < one.bad} | set(POOLED_COSTS)


def less_is_better(metric: str) -> bool:
    """Of a reported metric, by its name; nats to rebuild a text are a cost, nats that concepts hold are not."""
    is_cost = metric.startswith(("loss/", "cost/", "time/")) or metric == "eval/reconstruction_nats"
    return is_cost or metric.removeprefix("analysis/") in LESS_IS_BETTER


def assess(metrics: Mapping[str, float]) -> list[Assessment]:
    """In the table's order; a metric that was not measured is left out."""
    return [
        Assessment(threshold, metrics[threshold.metric], threshold.rate(metrics[threshold.metric]))
        for threshold in THRESHOLDS
        if threshold.metric in metrics
    ]


def conclude(assessments: Sequence[Assessment]) -> Conclusion:
    """From the assessments that decide. Collapse comes first: it makes meaning impossible. Sound is what passes in all,
    so in the weaker of both ranks."""
    deciding = [found for found in assessments if found.threshold.decides]
    ratings = {found.threshold.question: found.rating for found in reversed(deciding)}     # of ranks, that of a text
    if ratings[Question.DIVERSITY] is Rating.CRITICAL:
        return Conclusion.COLLAPSED
    if Question.MEANING not in ratings:
        return Conclusion.UNKNOWN
    if ratings[Question.MEANING] is Rating.CRITICAL:
        return Conclusion.EMPTY
    return Conclusion.SOUND if all(found.rating is Rating.PASS for found in deciding) else Conclusion.WEAK
