"""A stage as Tune drives it, in Tune's order: scheduler, searcher, callbacks. No cluster."""

from types import SimpleNamespace

import pytest
from corpora import unread_run
from ray import cloudpickle
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from cogito_ray.records.control_requests import SweepLimits
from cogito_ray.records.ledger import Reported, TrialEnded, TrialPaused, TrialProposed, TrialStarted
from cogito_ray.runtime.search.searcher import Search
from cogito_ray.runtime.search.trial_state_machine import Phase
from cogito_ray.runtime.trial_recorder import TrialRecorder, paused, progress
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
        self.limits, self.room, self.wanted = SweepLimits(), 4, []
        self.handout = StageSearcher(self.search, self.limits, lambda requested: self.room)
        self.course = StageScheduler(self.search, self.asked.append)
        self.starts = StageCallback(self.search, self.limits, self.wanted.append)

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

    def die(self, trial, folder, said):
        """Its process is gone; Tune, which is to try nothing again, has written down why."""
        trial.storage = SimpleNamespace(trial_driver_staging_path=folder)
        trial.run_metadata.error_filename = "error.txt"
        (folder / "error.txt").write_text(said)
        self.course.on_trial_error(None, trial)
        self.handout.on_trial_complete("t", error=True)
        self.starts.on_trial_error(0, [], trial)

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


def test_a_trial_whose_process_died_waits_and_goes_on_before_new_ones(tuned, tmp_path):
    sweep = tuned("stop")
    trial, other = sweep.start(), sweep.start()
    sweep.tell(trial, 10, 3.0)
    sweep.die(trial, tmp_path, "The actor died unexpectedly")
    assert (sweep.log[-1].trial, sweep.log[-1].step) == (trial.config["trial"], 10)
    assert (type(sweep.log[-1]), sweep.log[-1].cause) == (TrialPaused, "its process died")
    again = sweep.start()
    assert again.config == trial.config
    sweep.tell(again, 40, 2.0)
    sweep.complete(again)
    assert (sweep.log[-1].trial, sweep.log[-1].status) == (trial.config["trial"], "completed")
    assert sweep.search.is_busy    # the other one
    assert other.config != trial.config


def test_a_trial_that_dies_before_it_has_left_at_its_rung_comes_to_it_again(tuned, tmp_path):
    sweep = tuned("pause")
    trial = sweep.start()
    sweep.search._written = lambda name, step: False
    sweep.tell(trial, 10, 3.0)
    sweep.die(trial, tmp_path, "The actor died unexpectedly")
    assert not sweep.search.is_busy
    again = sweep.start()
    assert again.config == trial.config
    sweep.tell(again, 10, 3.0)
    sweep.paused(again, 10)
    sweep.complete(again)
    assert sweep.search.phases[trial.config["trial"]] is Phase.WAITING


def dies(sweep, folder, steps, said):
    """One trial that dies once it has come to each of these steps; how it stands then."""
    for step in steps:
        trial = sweep.start()
        if step:
            sweep.tell(trial, step, 3.0)
        sweep.die(trial, folder, said)
    return sweep.search.phases[trial.config["trial"]]


def test_a_trial_that_dies_again_and_again_fails_unless_it_comes_further_or_its_machine_is_at_fault(tuned, tmp_path):
    assert dies(tuned(), tmp_path, [10, 10], "The actor died") is Phase.DUE
    assert dies(tuned(), tmp_path, [10, 10, 10], "The actor died") is Phase.OVER
    assert dies(tuned(), tmp_path, [10, 0, 0], "The actor died") is Phase.OVER
    assert dies(tuned(), tmp_path, [10, 15, 15, 16, 17, 18], "The actor died") is Phase.DUE
    for said in ("The actor died because its node has died.", "MachineLeaves: its machine will be taken away"):
        assert dies(tuned(), tmp_path, [10] * 9, said) is Phase.DUE
    failed = tuned()
    dies(failed, tmp_path, [10, 10, 10], "The actor died")
    assert "its process died or raised" in failed.log[-1].cause


@pytest.mark.parametrize(
    "said",
    [
        "1 worker(s) were killed due to the node running low on memory.",    # Ray's memory monitor
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 9 GiB",
        "RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes",
    ],
)
def test_a_trial_that_lacks_memory_is_not_tried_again_and_infeasible_to_the_sampler(tuned, tmp_path, said):
    sweep = tuned()
    assert dies(sweep, tmp_path, [10], said) is Phase.OVER
    assert (sweep.log[-1].status, sweep.log[-1].step) == ("failed", 10)
    assert sweep.log[-1].cause.startswith("out of memory")
    assert sweep.search.trials[0].constraints == {"alive": 1.0}


def test_as_many_trials_run_as_there_is_room_for_while_the_cluster_grows_and_shrinks(tuned):
    sweep = tuned()
    sweep.room = 1
    assert [isinstance(sweep.handout.suggest(name), dict) for name in "ab"] == [True, False]
    sweep.room = 3
    assert [isinstance(sweep.handout.suggest(name), dict) for name in "bcd"] == [True, True, False]
    sweep.room = 1
    sweep.handout.on_trial_complete("a")
    assert sweep.handout.suggest("d") is None


def test_an_autoscaler_is_asked_for_room_for_what_is_left_and_no_more_than_may_run(tuned, tmp_path):
    sweep = tuned()

    def wanted():
        sweep.starts.on_step_end(0, [])
        return sweep.wanted[-1]

    assert wanted() == 4
    sweep.limits.concurrency = 2
    assert wanted() == 2
    sweep.limits.concurrency = None
    trials = [sweep.start() for _ in range(4)]
    assert wanted() == 4
    sweep.die(trials[0], tmp_path, "The actor died")
    assert wanted() == 4
    for trial in [*trials[1:], sweep.start()]:
        sweep.tell(trial, 40, 1.0)
        sweep.complete(trial)
    assert wanted() == 0


def test_nothing_that_tune_pickles_into_its_folder_holds_what_the_search_knows(tuned):
    sweep = tuned()
    name = sweep.start().config["trial"]
    for given in (sweep.handout, sweep.course, sweep.starts):
        assert name.encode() not in cloudpickle.dumps(given)
