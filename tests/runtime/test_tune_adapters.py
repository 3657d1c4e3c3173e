"""A stage as Tune drives it, in Tune's order: scheduler, searcher, callbacks. No cluster."""

import pytest
from corpora import unread_run
from ray import cloudpickle
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from cogito_ray.records.control_requests import SweepLimits
from cogito_ray.records.ledger import Reported, TrialEnded, TrialPaused, TrialProposed, TrialStarted
from cogito_ray.runtime.search.searcher import Search
from cogito_ray.runtime.trial_recorder import TrialRecorder
from cogito_ray.runtime.trial_report_messages import paused, progress
from cogito_ray.runtime.tune.tune_adapters import StageCallback, StageScheduler, StageSearcher
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.testing.search_driver import opening

NATS = "eval/reconstruction_nats"


class Tuned:
    """What Tune is given for a sweep of four trials, and what it does with it."""

    def __init__(self, folder, mode):
        tree = {
            "name": "tiny",
            "run": unread_run(steps=40, batch=8),
            "space": {"objective.rate": {"uniform": [0.3, 0.9]}},
            "goals": [{"metric": NATS, "mode": "min"}],
            "early_stopping": {"kind": "asha", "first_rung": 10, "eta": 2, "mode": mode},
            "budget": {"trials": 4},
        }
        spec = SweepSpec.model_validate(tree)
        self.log, self.asked = [opening(spec)], []
        self.search = Search(spec, TrialRecorder(self.log.append, folder), list(self.log))
        self.limits = SweepLimits()
        self.handout = StageSearcher(self.search, self.limits, at_once=4)
        self.course = StageScheduler(self.search, self.asked.append)
        self.starts = StageCallback(self.search)

    def start(self):
        trial = Trial("trial", config=self.handout.suggest("t"), stub=True)
        self.starts.on_trial_start(0, [], trial)
        return trial

    def tell(self, trial, step, value):
        return self._told(trial, progress(step, {NATS: value}))

    def _told(self, trial, result):
        decision = self.course.on_trial_result(None, trial, result)
        trial.run_metadata.last_result = result
        if decision == TrialScheduler.STOP:
            self.complete(trial)
        return decision

    def paused(self, trial, step):
        return self._told(trial, paused(step))

    def complete(self, trial):
        self.course.on_trial_complete(None, trial, trial.last_result)
        self.handout.on_trial_complete("t", trial.last_result)

    def give_up(self, trial):
        self.course.on_trial_error(None, trial)
        self.starts.on_trial_error(0, [], trial)

    def start_again(self, trial):
        self.course.on_trial_error(None, trial)  # Tune tells the scheduler, but neither searcher nor callbacks
        self.starts.on_trial_recover(0, [], trial)
        self.starts.on_trial_start(0, [], trial)

    def kinds(self):
        return [type(event) for event in self.log[1:]]


@pytest.fixture
def tuned(tmp_path):
    return lambda mode="stop": Tuned(tmp_path, mode)


def test_a_proposal_is_on_record_before_it_is_handed_out_and_an_end_before_the_searcher_hears_of_it(tuned):
    sweep = tuned()
    config = sweep.handout.suggest("t")
    assert sweep.kinds() == [TrialProposed]
    trial = Trial("trial", config=config, stub=True)
    sweep.starts.on_trial_start(0, [], trial)
    sweep.course.on_trial_result(None, trial, progress(40, {NATS: 1.0}))
    sweep.course.on_trial_complete(None, trial, progress(40, {NATS: 1.0}))
    assert sweep.kinds() == [TrialProposed, TrialStarted, Reported, TrialEnded]


def test_who_is_over_is_stopped_and_nobody_is_asked_to_leave(tuned):
    sweep = tuned()
    good, bad = sweep.start(), sweep.start()
    assert sweep.tell(good, 10, 1.0) == TrialScheduler.CONTINUE
    assert sweep.tell(bad, 10, 2.0) == TrialScheduler.STOP
    assert (sweep.log[-1].trial, sweep.log[-1].status) == (bad.config["trial"], "stopped")
    assert "among the best 1/2 at rung 10" in sweep.log[-1].cause
    assert sweep.asked == []


def test_who_is_to_wait_is_asked_to_leave_instead_of_being_stopped(tuned):
    sweep = tuned("pause")
    good, bad = sweep.start(), sweep.start()
    assert sweep.tell(good, 10, 1.0) == TrialScheduler.CONTINUE
    assert sweep.asked == [good.config["trial"]]
    assert sweep.paused(good, 10) == TrialScheduler.CONTINUE
    sweep.complete(good)
    assert isinstance(sweep.log[-1], TrialPaused)
    assert "not among the best 1/2 at rung 10" in sweep.log[-1].cause
    sweep.tell(bad, 10, 2.0)
    again = sweep.start()
    assert again.config == good.config
    sweep.tell(again, 15, 0.9)
    assert sweep.asked == [good.config["trial"], bad.config["trial"]]


def test_a_trial_that_says_it_has_left_is_not_judged_again(tuned):
    sweep = tuned("pause")
    good = sweep.start()
    sweep.tell(good, 10, 1.0)
    sweep.paused(good, 10)
    assert len(sweep.asked) == 1


def test_at_its_last_step_nobody_is_stopped(tuned):
    sweep = tuned()
    good, bad = sweep.start(), sweep.start()
    sweep.tell(good, 20, 1.0)
    assert sweep.tell(bad, 40, 2.0) == TrialScheduler.CONTINUE


def test_a_last_report_that_tune_tells_again_is_recorded_once(tuned):
    sweep = tuned()
    trial = sweep.start()
    sweep.tell(trial, 40, 1.0)
    sweep.tell(trial, 40, 1.0)                                      # as when a trial's function returns
    sweep.complete(trial)
    assert sweep.kinds() == [TrialProposed, TrialStarted, Reported, TrialEnded]


def test_an_end_that_tune_could_not_work_off_and_tells_again_as_an_error_is_recorded_once(tuned):
    sweep = tuned()
    trial = sweep.start()
    sweep.tell(trial, 40, 1.0)
    sweep.complete(trial)
    sweep.give_up(trial)
    assert [event.status for event in sweep.log if isinstance(event, TrialEnded)] == ["completed"]


def test_a_trial_whose_process_died_is_not_over_while_tune_starts_it_again(tuned):
    sweep = tuned("stop")
    trial = sweep.start()
    sweep.tell(trial, 10, 3.0)
    sweep.start_again(trial)
    assert TrialEnded not in sweep.kinds()
    sweep.tell(trial, 40, 2.0)
    sweep.complete(trial)
    assert sweep.kinds()[-1] is TrialEnded


def test_nothing_that_tune_pickles_into_its_folder_holds_what_the_search_knows(tuned):
    sweep = tuned()
    name = sweep.start().config["trial"]
    for given in (sweep.handout, sweep.course, sweep.starts):
        assert name.encode() not in cloudpickle.dumps(given)
