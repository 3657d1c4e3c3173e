"""What is asked of a driver over its folder: answered once, on record, and in force. No cluster."""

import time

import pytest
from corpora import unread_run

from cogito_ray.records.control_requests import (
    ChangeBudget,
    PauseSweep,
    ResumeSweep,
    SetConcurrency,
    StopTrial,
    SweepLimits,
)
from cogito_ray.records.ledger import NAME, Ledger
from cogito_ray.records.sweep_record import SharedRecord, read
from cogito_ray.runtime.control_channel import REQUESTS, ControlChannel
from cogito_ray.runtime.control_files import PREEMPT
from cogito_ray.runtime.search.searcher import Search
from cogito_ray.runtime.trial_recorder import TrialRecorder
from cogito_ray.runtime.tune import control_callback
from cogito_ray.runtime.tune.budget_callback import BudgetCallback
from cogito_ray.runtime.tune.control_callback import ControlCallback
from cogito_ray.runtime.tune.disk_quota_enforcement import CheckpointPruner
from cogito_ray.runtime.tune.tune_adapters import StageSearcher
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.testing.search_driver import opening

NATS = "eval/reconstruction_nats"


def refuse_more_than_three(trials):
    if trials > 3:
        raise ValueError("3 would fit")


class Driver:
    """What a driver has of a sweep of four trials, two at a time."""

    def __init__(self, folder):
        tree = {"name": "s", "run": unread_run(steps=40, report_every=10), "budget": {"trials": 4, "wall": "1h"}}
        tree |= {"space": {"objective.rate": {"uniform": [0.3, 0.9]}}, "goals": [{"metric": NATS, "mode": "min"}]}
        spec = SweepSpec.model_validate(tree)
        self.ledger, self.channel = Ledger(folder / NAME), ControlChannel(folder)
        self.ledger.append(opening(spec).model_copy(update={"at": time.time()}))
        self.record = read(folder / NAME)
        self.search = Search(spec, TrialRecorder(self.ledger.append, folder, self.record), self.record.events)
        self.limits = self.record.limits
        pruner = CheckpointPruner(self.ledger, SharedRecord(folder / NAME), folder, None)
        self.budget = BudgetCallback(spec.budget, self.record, folder / "preempt", self.search.close, pruner)
        answered = {event.id for event in self.record.controls}
        self.preempt = folder / "trials" / PREEMPT
        self.control = ControlCallback(
            self.channel, self.ledger.append, self.search, self.limits, self.budget, self.preempt,
            answered=answered, refuse_many=refuse_more_than_three,
        )  # fmt: skip
        self.searcher = StageSearcher(self.search, self.limits, fits=lambda requested: requested or 2)

    def asked(self, request):
        """Its answer."""
        self.channel.send(request)
        self.control._looked = 0.0
        self.control.look()
        return read(self.ledger.path).controls[-1]


@pytest.fixture
def driver(tmp_path, monkeypatch):
    monkeypatch.setattr(control_callback, "LOOKS_EVERY_S", 0.01)
    return Driver(tmp_path)


def test_a_request_is_answered_once_and_then_gone(driver, tmp_path):
    answer = driver.asked(PauseSweep())
    assert (answer.accepted, answer.request) == (True, PauseSweep())
    assert " on " in answer.by
    assert list((tmp_path / REQUESTS).iterdir()) == []
    assert read(tmp_path / NAME).limits.is_paused


def test_a_request_that_a_killed_driver_answered_and_left_is_not_answered_again(driver, tmp_path):
    asked = driver.channel.send(ChangeBudget(changes=("trials=+1",)))
    file = tmp_path / REQUESTS / f"{asked.id}.json"
    content = file.read_text()
    driver.control.look()
    file.write_text(content)
    Driver(tmp_path).control.look()
    assert len(read(tmp_path / NAME).controls) == 1
    assert not file.exists()


def test_a_paused_sweep_hands_out_nothing_asks_all_trials_to_leave_and_goes_on(driver):
    driver.searcher.suggest("0")
    driver.asked(PauseSweep())
    assert driver.searcher.suggest("1") == "FINISHED"
    assert driver.searcher.paused
    assert driver.preempt.exists()
    driver.asked(ChangeBudget(changes=("trials=3",)))
    assert driver.preempt.exists()
    driver.asked(ResumeSweep())
    assert not driver.preempt.exists()
    assert isinstance(driver.searcher.suggest("2"), dict)


def test_a_driver_that_is_killed_while_its_sweep_is_paused_leaves_it_paused(driver, tmp_path):
    driver.asked(PauseSweep())
    assert Driver(tmp_path).searcher.suggest("0") == "FINISHED"


def test_so_many_trials_run_at_a_time_as_was_asked_for(driver):
    assert [isinstance(driver.searcher.suggest(name), dict) for name in "abc"] == [True, True, False]
    assert driver.asked(SetConcurrency(trials=3)).accepted
    assert [isinstance(driver.searcher.suggest(name), dict) for name in "cd"] == [True, False]
    driver.asked(SetConcurrency(trials=1))
    driver.searcher.on_trial_complete("a")
    assert driver.searcher.suggest("d") is None


def test_a_disk_quota_may_be_set_and_raised_and_holds_for_the_checkpoints_there_are(driver, tmp_path):
    kept = tmp_path / "t" / "checkpoints" / "step-00000010"
    kept.mkdir(parents=True)
    (kept / "weights").write_bytes(bytes(3000))
    assert driver.asked(ChangeBudget(changes=("disk=2kB",))).accepted
    assert "budget.disk" in driver.budget.budget.exhausted(driver.budget.spent())
    assert driver.asked(ChangeBudget(changes=("disk=+2MB",))).accepted
    assert driver.limits.budget.disk_bytes == 2_002_000
    assert driver.budget.budget.exhausted(driver.budget.spent()) == ""


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (SetConcurrency(trials=4), "3 would fit"),
        (ResumeSweep(), "the sweep is not paused"),
        (StopTrial(trial="nobody"), "not one of this sweep"),
        (ChangeBudget(changes=("memory=2GB",)), "may be changed"),
        (ChangeBudget(changes=("gpu_hours=+4",)), "no limit that could be raised"),
        (ChangeBudget(changes=("wall=soon",)), "is no duration"),
    ],
)
def test_what_cannot_be_is_refused_on_record_and_changes_nothing(driver, request_, why):
    before = SweepLimits(driver.limits.budget, driver.limits.concurrency, driver.limits.is_paused)
    answer = driver.asked(request_)
    assert not answer.accepted
    assert why in answer.outcome
    after = read(driver.ledger.path).limits
    assert (after.budget, after.concurrency, after.is_paused) == (before.budget, before.concurrency, before.is_paused)


def test_a_raised_budget_is_what_is_watched(driver):
    driver.asked(ChangeBudget(changes=("+30m", "trials=6")))
    assert driver.budget.budget.wall == "5400s"
    assert read(driver.ledger.path).limits.budget == driver.budget.budget
    assert driver.budget.budget.trials == 6


def test_waiting_ends_when_the_sweep_is_resumed(driver):
    driver.asked(PauseSweep())
    driver.channel.send(ResumeSweep())
    driver.control.wait(held=False)
    assert not driver.limits.is_paused


def test_a_request_of_another_version_harms_nobody(driver, tmp_path):
    (tmp_path / REQUESTS).mkdir()
    (tmp_path / REQUESTS / "1.json").write_text('{"action": "dance"}')
    assert driver.asked(PauseSweep()).accepted
    assert list((tmp_path / REQUESTS).iterdir()) == []
