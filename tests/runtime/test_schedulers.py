"""Early stopping as Tune drives it, without a cluster."""

from types import SimpleNamespace

import pytest
from ray.tune.schedulers import TrialScheduler

from cogito_ray.runtime.outcome import leave, progress
from cogito_ray.runtime.schedulers import EarlyStopping
from cogito_ray.sweeps.asha import AshaSpec
from cogito_ray.sweeps.goals import Aim, GoalSpec

AIM = Aim.of((GoalSpec(metric="nats", mode="min"),), {})


@pytest.fixture
def asked():
    """Trials that were asked to leave, in order."""
    return []


def scheduler(mode, asked):
    policy = AshaSpec(first_rung=10, eta=2, mode=mode).policy(40, AIM)
    return EarlyStopping(policy, asked.append), policy


def trial(name):
    return SimpleNamespace(config={"trial": name, "run": {"training": {"steps": 40}}})


def tell(scheduler, name, step, value):
    return scheduler.on_trial_result(None, trial(name), progress(step, {"nats": value}))


def test_who_is_over_is_stopped_and_nobody_is_asked_to_leave(asked):
    stopping, _ = scheduler("stop", asked)
    assert tell(stopping, "good", 10, 1.0) == TrialScheduler.CONTINUE
    assert tell(stopping, "bad", 10, 2.0) == TrialScheduler.STOP
    assert list(stopping.causes) == ["bad"]
    assert asked == []


def test_who_is_to_wait_is_asked_to_leave_instead_of_being_stopped(asked):
    pausing, policy = scheduler("pause", asked)
    assert tell(pausing, "good", 10, 1.0) == TrialScheduler.CONTINUE
    assert asked == ["good"]
    assert "nats 1 not among the best 1/2 at rung 10" in pausing.causes["good"]
    tell(pausing, "bad", 10, 2.0)
    assert policy.promoted(idle=False) == "good"
    tell(pausing, "good", 15, 0.9)
    assert asked == ["good", "bad"]
    assert list(pausing.causes) == ["bad"]


def test_a_trial_that_says_it_has_left_is_not_judged_again(asked):
    pausing, _ = scheduler("pause", asked)
    tell(pausing, "good", 10, 1.0)
    assert pausing.on_trial_result(None, trial("good"), leave(10)) == TrialScheduler.CONTINUE
    assert asked == ["good"]


def test_at_its_last_step_nobody_is_stopped(asked):
    stopping, _ = scheduler("stop", asked)
    tell(stopping, "good", 20, 1.0)
    assert tell(stopping, "bad", 40, 2.0) == TrialScheduler.CONTINUE
