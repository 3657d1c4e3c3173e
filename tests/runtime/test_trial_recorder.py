"""What becomes of trials stands in the ledger once, by its name. No cluster."""

import time

import pytest
from corpora import unread_run

from cogito_ray.records.ledger import (
    NAME,
    TRIALS,
    Ledger,
    Reported,
    SweepOpened,
    TrialEnded,
    TrialPaused,
    TrialStarted,
    events,
)
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.sweep_record import read
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.control_files import STALLED
from cogito_ray.runtime.trial_recorder import TrialRecorder, death, paused, progress
from cogito_ray.text.data_digests import DataDigests
from cogito_ray.text.data_spec import DataSpec, corpus_key

STEPS = 20
RUN = RunSpec.model_validate(unread_run(steps=STEPS)).model_dump(mode="json")
READ = DataDigests("0a" * 6, {"docs": "1b" * 6})


@pytest.fixture
def clock(monkeypatch):
    """Sets the time, in seconds after a beginning."""
    began = time.monotonic()

    def at(seconds):
        monkeypatch.setattr(time, "monotonic", lambda: began + seconds)

    at(0)
    return at


@pytest.fixture
def told(tmp_path):
    """Calls a recorder's methods for a trial (new ones go on from the ledger); gives the events after the opening."""
    path = tmp_path / NAME
    origin = Provenance(commit=None, dirty=False, versions={}, host="here")
    with Ledger(path) as ledger:
        data = {corpus_key(DataSpec.model_validate(RUN["data"])): READ}
        ledger.append(SweepOpened(at=0.0, spec={}, sweep="s", provenance=origin, data=data))

        def tell(*calls, stopped="", paused="", replicates=None):
            config = {"trial": "a", "number": 3, "sample": {"seed": 1}, "run": RUN, "replicates": replicates}
            recorder, last = TrialRecorder(ledger.append, tmp_path / TRIALS, read(path)), None
            for before, name, *result in calls:
                before()
                if name == "start":
                    recorder.started(config)
                elif name == "result":
                    last = result[0]
                    recorder.reported(config, last)
                else:
                    recorder.ended(config, last, error=name == "error", stopped=stopped, paused=paused)
            return events(path)[1:]

        yield tell


def at_once():
    """No time passes."""


START = (at_once, "start")


def test_a_start_and_each_report_are_written_down_whole(told):
    report = progress(5, {"loss/total": 2.0}, rows="1f", notes=("resumed at step 4",))
    start, reported = told(START, (at_once, "result", report), replicates="first")
    asked = {"trial": "a", "number": 3, "sample": {"seed": 1}, "spec": RUN, "replicates": "first"}
    assert start == TrialStarted(at=start.at, data=READ, **asked)
    cost = {"cost/wall_s": reported.seconds}
    assert (reported.trial, reported.step, reported.metrics) == ("a", 5, {"loss/total": 2.0} | cost)
    assert (reported.rows, reported.notes) == ("1f", ("resumed at step 4",))


@pytest.mark.parametrize(
    ("last", "how", "status", "cause"),
    [
        (progress(STEPS, {"loss/total": 2.0}), "complete", "completed", ""),
        (progress(5, {"loss/total": 2.0}), "complete", "stopped", "beaten at rung 5"),
        (death(5, "leak at step 5"), "complete", "failed", "leak at step 5"),
        (progress(5, {"loss/total": 2.0}), "error", "failed", "its process died or raised"),
    ],
    ids=["completed", "stopped", "dead", "lost"],
)
def test_every_end_has_its_name_and_its_cause(told, last, how, status, cause):
    why = "beaten at rung 5" if status == "stopped" else ""
    *_, ended = told(START, (at_once, "result", last), (at_once, how), stopped=why)
    assert isinstance(ended, TrialEnded)
    assert (ended.status, ended.step) == (status, last["step"])
    assert ended.cause.startswith(cause)
    assert bool(ended.cause) == bool(cause)


def test_a_death_and_a_leave_are_no_reports(told):
    ones = told(START, (at_once, "result", death(5, "leak")), (at_once, "result", paused(5)))
    assert [type(one) for one in ones] == [TrialStarted]


def test_who_left_has_not_ended_and_says_why(told):
    *_, left = told(START, (at_once, "result", paused(5)), (at_once, "complete"), stopped="", paused="budget gone")
    assert left == TrialPaused(at=left.at, trial="a", step=5, cause="budget gone")


def test_a_report_told_twice_stands_once_and_one_of_a_new_start_again(told):
    report = (at_once, "result", progress(5, {"loss/total": 2.0}))
    ones = told(START, report, report, START, report)
    assert [type(one) for one in ones] == [TrialStarted, Reported, TrialStarted, Reported]


@pytest.mark.parametrize(("reached", "status"), [(STEPS, "completed"), (5, "stopped")])
def test_who_has_nothing_more_to_say_has_come_as_far_as_the_ledger_tells(told, reached, status):
    told(START, (at_once, "result", progress(reached, {"loss/total": 2.0})))
    *_, ended = told(START, (at_once, "complete"))                  # by the next driver, from its last checkpoint
    assert (ended.status, ended.step) == (status, reached)


def test_a_process_that_stood_still_is_the_cause_of_its_end(told, tmp_path):
    folder = tmp_path / TRIALS / "a"
    folder.mkdir(parents=True)
    (folder / STALLED).write_text("rank 0 stood still\n")
    *_, ended = told(START, (at_once, "error"))
    assert (ended.status, ended.cause) == ("failed", "rank 0 stood still")


def test_while_a_trial_waits_it_does_not_run(told, clock):
    waits = [START, (lambda: clock(10), "result", paused(5)), (at_once, "complete")]
    goes_on = [(lambda: clock(100), "start"), (lambda: clock(105), "result", progress(10, {"loss/total": 2.0}))]
    *_, last = told(*waits, *goes_on)
    assert last.seconds == pytest.approx(10 + 5)


@pytest.mark.parametrize("replicates", [None, "first"])
def test_seconds_are_those_it_ran_over_all_its_starts(told, clock, replicates):
    def after(seconds):
        return lambda: clock(seconds)

    def report(step):
        return progress(step, {"loss/total": 2.0})

    dies = [(after(10), "start"), (after(13), "result", report(5)), (after(14), "start")]   # its process died at 14
    told(*dies, (after(16), "result", report(10)), (after(17), "complete"), replicates=replicates)
    again = [(after(100), "start"), (after(105), "result", report(15))]
    *_, last = told(*again, replicates=replicates)
    assert last.seconds == pytest.approx(6 + 5)                     # what came after its last report is not known
