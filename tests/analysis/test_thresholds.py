"""The table of thresholds, and what is concluded from it."""

import math

import pytest
import torch

from cogito_ray.analysis.metrics_by_name import concept_metrics
from cogito_ray.analysis.thresholds import THRESHOLDS, Conclusion, Question, Threshold, assess, conclude
from cogito_ray.analysis.thresholds import Rating as V


@pytest.mark.parametrize(
    ("good", "bad", "value", "rating"),
    [(0.5, 0.3, 0.5, V.PASS), (0.5, 0.3, 0.3, V.POOR), (0.5, 0.3, 0.29, V.CRITICAL), (0.5, 0.3, math.nan, V.CRITICAL),
     (0.3, 0.5, 0.3, V.PASS), (0.3, 0.5, 0.5, V.POOR), (0.3, 0.5, 0.51, V.CRITICAL), (0.3, 0.5, math.nan, V.CRITICAL)],
)  # fmt: skip
def test_a_target_knows_which_way_is_better(good: float, bad: float, value: float, rating: V):
    assert Threshold("x", "x", Question.MEANING, good, bad, "here").rate(value) is rating


def test_both_ranks_decide_of_diversity_and_one_figure_of_meaning():
    deciding = {threshold.metric: threshold.question for threshold in THRESHOLDS if threshold.decides}
    ranks = dict.fromkeys(("effective_rank_share", "mean_nuclear_rank_share"), Question.DIVERSITY)
    assert deciding == {**ranks, "word_content_auc": Question.MEANING}


@pytest.mark.parametrize(
    ("nuclear", "conclusion"), [(0.5, Conclusion.SOUND), (0.4, Conclusion.WEAK), (0.1, Conclusion.WEAK)]
)
def test_the_weaker_of_both_ranks_decides_what_is_sound(nuclear: float, conclusion: Conclusion):
    metrics = {"effective_rank_share": 0.9, "mean_nuclear_rank_share": nuclear, "word_content_auc": 0.7}
    assert conclude(assess(metrics)) is conclusion


@pytest.mark.parametrize(
    ("rank", "content", "conclusion"),
    [
        (0.9, 0.7, Conclusion.SOUND),
        (0.9, 0.6, Conclusion.WEAK),
        (0.4, 0.7, Conclusion.WEAK),
        (0.9, 0.5, Conclusion.EMPTY),
        (0.1, 0.7, Conclusion.COLLAPSED),
        (0.1, 0.5, Conclusion.COLLAPSED),
    ],
)
def test_conclusions(rank: float, content: float, conclusion: Conclusion):
    assessments = assess({"effective_rank_share": rank, "word_content_auc": content, "closeness": 0.1})
    rated = [found.threshold.metric for found in assessments]
    assert rated == ["effective_rank_share", "closeness", "word_content_auc"]
    assert conclude(assessments) is conclusion


def test_diverse_concepts_that_were_not_asked_are_not_called_sound():
    assert conclude(assess({"effective_rank_share": 0.9})) is Conclusion.UNKNOWN


def test_every_target_of_diversity_is_a_figure_that_is_measured():
    told = concept_metrics(torch.randn(20, 4, 8, generator=torch.Generator().manual_seed(0)))
    asked = {threshold.metric for threshold in THRESHOLDS if threshold.question is Question.DIVERSITY}
    assert asked <= told.keys()
