"""Which checkpoints stay."""

import math

from cogito_ray.training.checkpoints.checkpoint_retention import BestSpec, CheckpointsSpec, StoredCheckpoint, retained

SCORES = ((1, 3.0), (2, 0.5), (3, 1.0), (4, 2.0), (5, None))
MADE = [StoredCheckpoint(step, size=10, score=score) for step, score in SCORES]


def steps(**settings):
    return [one.step for one in retained(MADE, CheckpointsSpec(**settings))]


def test_the_newest_stay():
    assert steps(keep=2) == [5, 4]


def test_the_best_stay_besides_the_newest():
    assert steps(keep=2, best=BestSpec(metric="m", keep=2)) == [5, 4, 3, 2]
    assert steps(keep=1, best=BestSpec(metric="m", mode="max")) == [5, 1]


def test_bytes_spare_the_newest_then_the_best():
    assert steps(keep=3, best=BestSpec(metric="m"), keep_bytes=30) == [5, 4, 2]
    assert steps(keep=3, best=BestSpec(metric="m"), keep_bytes=20) == [5, 2]
    assert steps(keep=3, best=BestSpec(metric="m"), keep_bytes=1) == [5]


def test_milestones_stay_besides_the_others_and_count_for_no_bytes():
    assert steps(keep=1, milestone_every=2) == [5, 4, 2]
    assert steps(keep=3, keep_bytes=10, milestone_every=2) == [5, 4, 2]


def test_one_that_is_both_new_and_best_counts_once():
    assert steps(keep=2, best=BestSpec(metric="m", mode="max", keep=5), keep_bytes=50) == [5, 4, 3, 2, 1]
    assert retained([], CheckpointsSpec()) == []


def test_one_whose_score_is_not_finite_is_never_among_the_best():
    scores = (math.nan, 2.0, math.nan, 1.0, math.nan)
    made = [StoredCheckpoint(step, size=10, score=score) for step, score in enumerate(scores, 1)]
    for mode, best in (("min", 4), ("max", 2)):
        spec = CheckpointsSpec(keep=1, best=BestSpec(metric="m", mode=mode))
        assert [one.step for one in retained(made, spec)] == [5, best]
