"""A sweep that is steered while it runs: each control, on one real sweep."""

import _thread
import signal
import threading
import time

import pytest
from corpora import prepared_run

import cogito_ray as cr
from cogito_ray.records.ledger import NAME, Controlled, Reported, TrialEnded, TrialPaused, TrialStarted, events
from cogito_ray.records.sweep_record import SharedRecord
from cogito_ray.runtime.cluster import left_behind
from cogito_ray.runtime.tune.sweep_driver import run_sweep
from cogito_ray.sweeps.sweep_spec import SweepSpec

pytestmark = [pytest.mark.usefixtures("ray_cluster")]
POINT = {"objective.rate": 0.55}
STEPS = 1600
"""Of a trial: enough that the first is not over before the second, which may start seconds later, has been stopped."""


def sweep_spec(folder):
    run = prepared_run(folder)
    run["training"] |= {"steps": STEPS, "report_every": STEPS // 40, "checkpoint_every": STEPS // 4}
    return SweepSpec.model_validate(
        {
            "name": "steered",
            "run": run,
            "space": {"objective.rate": {"uniform": [0.3, 0.6]}},
            "search": {"sampler": "random"},
            "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
            "budget": {"trials": 2, "wall": "20m"},
            "concurrency": 2,
        }
    )


def numbered(record):
    """Trials in the order in which they were proposed."""
    return sorted(record.trials.values(), key=lambda trial: trial.number)


class Steering(threading.Thread):
    """What somebody does in another process; here in another thread, over files alone."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.record, self.fault = folder, SharedRecord(folder / NAME), None

    def run(self):
        try:
            self._steer()
        except BaseException as fault:  # told to the test, in its own thread
            self.fault = fault
            _thread.interrupt_main()    # the sweep would wait for ever

    def _steer(self):
        self._until(lambda record: sum(bool(trial.reports) for trial in record.trials.values()) == 2)
        cr.stop(0, run=self.folder)
        self._until(lambda record: len([t for t in record.trials.values() if t.end]) == 1)
        cr.pause(1, run=self.folder)
        self._until(lambda record: numbered(record)[1].paused)
        cr.add(POINT, run=self.folder)    # all that is left is held: it starts all the same
        self._until(lambda record: len(record.trials) == 3 and numbered(record)[2].reports)
        cr.budget("trials=+1", "+10m", run=self.folder)
        cr.concurrency(1, run=self.folder)
        cr.pause(run=self.folder)
        self._until_silent()
        [told] = cr.status(self.folder)
        assert told.state == "paused on request"
        with pytest.raises(ValueError, match=r"refused: trial .* is over"):
            cr.stop(0, run=self.folder)
        cr.resume(run=self.folder)
        cr.resume(1, run=self.folder)

    def _until_silent(self):
        """Nobody runs, nor is about to: who was handed out before the pause may start, and leaves at once."""
        before = -1
        while (now := self._events()) != before:
            before = now
            self._until(lambda record: not any(record.is_running(trial) for trial in record.trials.values()))
            time.sleep(3)

    def _events(self):
        with self.record.now() as record:
            return len(record.events)

    def _until(self, holds):
        deadline = time.monotonic() + 100
        while True:
            try:
                with self.record.now() as record:
                    if record.openings and holds(record):
                        return
            except FileNotFoundError:
                pass
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.timeout(240)
def test_a_running_sweep_does_what_is_asked_of_it(tmp_path):
    steering = Steering(tmp_path / "steered")
    steering.start()
    handler = signal.getsignal(signal.SIGINT)
    record = run_sweep(sweep_spec(tmp_path), tmp_path)
    steering.join(10)
    assert steering.fault is None
    assert record.is_complete
    assert signal.getsignal(signal.SIGINT) is handler    # else the next Ctrl-C would do nothing
    assert left_behind() == []
    stopped, held, added, further = numbered(record)
    told = events(tmp_path / "steered" / NAME)
    answers = [event for event in told if isinstance(event, Controlled)]
    assert [answer.accepted for answer in answers] == [True] * 6 + [False, True, True]

    assert (stopped.status, stopped.cause) == ("stopped", "stopped on request")
    after = told[told.index(answers[0]) :]
    assert sum(isinstance(event, Reported) and event.trial == stopped.id for event in after) <= 1
    assert [event.cause for event in told if isinstance(event, TrialPaused) and event.trial == held.id] == [
        "paused on request"
    ]
    assert added.sample == POINT
    for trial in (held, added, further):
        assert trial.status == "completed"
        steps = [event.step for event in told if isinstance(event, Reported) and event.trial == trial.id]
        assert steps == list(range(STEPS // 40, STEPS + 1, STEPS // 40))    # nothing twice
    alone = told[told.index(answers[5]) :]
    running, most = set(), 0
    for event in alone:
        if isinstance(event, TrialStarted):
            running.add(event.trial)
        if isinstance(event, TrialEnded | TrialPaused):
            running.discard(event.trial)
        most = max(most, len(running))
    assert most == 1
