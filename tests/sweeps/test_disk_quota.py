"""Which checkpoints go when they are too many bytes."""

import pytest
from pydantic import TypeAdapter

from cogito_ray.sweeps.disk_quota import RetentionPriority, Stored, Worth, least, pruned
from cogito_ray.sweeps.early_stopping.population_based_training import PopulationSpec
from cogito_ray.sweeps.early_stopping.stopping_spec import StoppingSpec

STANDING = {
    "failed": RetentionPriority(Worth.FAILED),
    "stopped": RetentionPriority(Worth.STOPPED),
    "second": RetentionPriority(Worth.BEATEN, 1),
    "last": RetentionPriority(Worth.BEATEN, 9),
    "best": RetentionPriority(Worth.NEEDED, 0),
    "running": RetentionPriority(Worth.NEEDED, 2),
}
STORED = [Stored(trial, step, 10) for trial in STANDING for step in (100, 200)]


def left(quota):
    gone = pruned(STORED, STANDING, quota)
    return {(one.trial, one.step) for one in STORED if one not in gone}


def test_within_the_quota_nothing_goes():
    assert pruned(STORED, STANDING, 120) == []


def test_what_a_copy_may_go_on_from_stays_whatever_the_quota():
    gone = pruned(STORED, STANDING, 0, sources={("stopped", 100), ("best", 100)})
    assert {(one.trial, one.step) for one in STORED if one not in gone} == {
        ("stopped", 100), ("best", 100), ("best", 200), ("running", 200),
    }  # fmt: skip


def test_no_more_goes_than_is_over():
    assert len(pruned(STORED, STANDING, 111)) == 1
    assert len(pruned(STORED, STANDING, 100)) == 2


def test_the_least_worth_go_first_and_of_each_trial_the_older():
    order = [(one.trial, one.step) for one in pruned(STORED, STANDING, 0)]
    assert order[:8] == [(trial, step) for trial in ("failed", "stopped", "last", "second") for step in (100, 200)]
    assert order[8:] == [("running", 100), ("best", 100)]


@pytest.mark.parametrize("quota", [0, 5, 20])
def test_what_a_resume_or_the_winner_needs_stays_whatever_the_quota(quota):
    assert left(quota) == {("best", 200), ("running", 200)}


def test_a_quota_must_hold_the_newest_of_each_trial_under_way_and_of_the_best_one():
    assert least(10, at_once=3, trials=9, held=0) == 40
    assert least(10, at_once=3, trials=2, held=0) == 20


@pytest.mark.parametrize(
    ("written", "held"),
    [
        ({"kind": "none"}, 0),
        ({"kind": "median", "first_step": 10}, 0),
        ({"kind": "asha", "first_rung": 10, "mode": "stop"}, 0),
        ({"kind": "asha", "first_rung": 10}, 5),
        ({"kind": "hyperband", "first_rung": 10}, 5),
        ({"kind": "population", "every": 10}, 9 * 3),
    ],
)
def test_a_quota_must_hold_one_of_each_trial_that_waits_or_may_be_copied(written, held):
    stopping = TypeAdapter(StoppingSpec).validate_python(written)
    assert stopping.held(100, trials=8, at_once=2) == held
    assert least(10, at_once=2, trials=8, held=held) == 10 * (3 + held)


def test_a_population_that_trains_side_by_side_holds_the_best_of_one_comparison():
    assert PopulationSpec(every=10).held(100, trials=8, at_once=8) == 3
