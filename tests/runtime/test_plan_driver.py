"""Plans between drivers: processes that outlive one are found by the next, and what was carried out may not change."""

import os
import signal
import threading
import time

import pytest
from corpora import unread_run

from cogito_ray.plans.plan_file import read
from cogito_ray.records.file_locks import Busy
from cogito_ray.records.ledger import (
    INTERRUPTED,
    NAME,
    Ledger,
    PhaseEnded,
    PhaseStarted,
    PlanOpened,
    SweepClosed,
    SweepOpened,
)
from cogito_ray.records.plan_record import PlanRecord
from cogito_ray.runtime.plan.phase_processes import BY_RAY, PhaseProcesses
from cogito_ray.runtime.plan.plan_driver import refuse_changes, run_plan
from cogito_ray.testing.search_driver import ORIGIN


def until(holds, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_process_outlives_who_started_it_and_is_found_interrupted_and_asked_for_its_status_by_others(tmp_path):
    PhaseProcesses(tmp_path / "phases").start("one", ["serve", str(tmp_path), "--port", "0"])
    other = PhaseProcesses(tmp_path / "phases")
    assert other.is_running("one")
    with pytest.raises(Busy):
        other.start("one", ["--version"])
    until(lambda: "Ctrl-C ends it" in other.log("one").read_text())
    assert other.status("one") is None
    other.interrupt(["one"])
    assert not other.is_running("one")
    assert other.status("one") is None
    assert other.last_line("one") == "closed"


def test_a_phase_can_be_interrupted_that_was_started_where_interrupts_are_ignored(tmp_path):
    processes, before = PhaseProcesses(tmp_path / "phases"), signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        processes.start("one", ["serve", str(tmp_path), "--port", "0"])
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    until(lambda: "Ctrl-C ends it" in processes.log("one").read_text())
    processes.interrupt(["one"])
    assert processes.last_line("one") == "closed"


def test_in_a_submitted_job_phases_get_the_signal_of_ray_alone(tmp_path, monkeypatch):
    monkeypatch.setenv(BY_RAY, "SIGINT")
    processes = PhaseProcesses(tmp_path / "phases")
    processes.start("one", ["serve", str(tmp_path), "--port", "0"])
    until(lambda: "Ctrl-C ends it" in processes.log("one").read_text())
    waiting = threading.Thread(target=processes.interrupt, args=(["one"],))
    waiting.start()
    waiting.join(timeout=1.0)
    assert waiting.is_alive()
    os.killpg(int((tmp_path / "phases" / "one.pid").read_text()), signal.SIGINT)
    waiting.join(timeout=20.0)
    assert not waiting.is_alive()
    assert processes.last_line("one") == "closed"


def test_how_a_process_ended_is_told_apart(tmp_path):
    processes = PhaseProcesses(tmp_path)
    assert not processes.is_running("never")
    assert processes.status("never") is None
    processes.start("wrong", ["train", str(tmp_path / "absent.yaml")])
    until(lambda: not processes.is_running("wrong"))
    assert processes.status("wrong") == 2
    assert "cannot be read" in processes.last_line("wrong")


def plan(**steps):
    phases = {name: {"kind": "run", "settings": unread_run(steps=count)} for name, count in steps.items()}
    return read({"name": "road", "phases": phases})


def carried_out(made, *names, state="complete"):
    record = PlanRecord()
    record.add(PlanOpened(at=0, spec={}))
    for name in names:
        record.add(PhaseStarted(at=0, phase=name, work=made.work(name), command=(), folder=""))
        record.add(PhaseEnded(at=0, phase=name, state=state))
    record.add(PlanOpened(at=1, spec={}))
    return record


def test_a_plan_may_change_in_all_but_what_was_carried_out():
    before = plan(a=40, b=40)
    record = carried_out(before, "a")
    refuse_changes(plan(a=40, b=50, c=10), record)
    with pytest.raises(ValueError, match=r"phases.a.settings.training.steps: 40 -> 50"):
        refuse_changes(plan(a=50, b=40), record)
    with pytest.raises(ValueError, match=r"phases.a: .* -> .absent."):
        refuse_changes(plan(b=40), record)
    refuse_changes(plan(a=50, b=40), carried_out(before, "a", state="failed"))


@pytest.mark.parametrize(
    ("closed_at", "cause", "state"), [(1e10, "interrupted", "running"), (0, "mlm failed", "failed")]
)
def test_a_phase_that_somebody_interrupted_interrupts_its_plan_and_one_that_failed_does_not(
    tmp_path, closed_at, cause, state
):
    made, folder = plan(mlm=40), tmp_path / "road"
    (folder / "phases").mkdir(parents=True)
    (folder / "phases" / "mlm.status").write_text("1")
    (folder / "phases" / "mlm.log").write_text("the end")
    (tmp_path / "road-mlm").mkdir()
    with Ledger(tmp_path / "road-mlm" / NAME) as ledger:
        ledger.append(SweepOpened(at=0, spec={}, sweep="s", provenance=ORIGIN))
        ledger.append(SweepClosed(at=closed_at, cause=INTERRUPTED))     # before this start of it, where it failed
    started = {"work": made.work("mlm"), "command": ("train",), "folder": str(tmp_path / "road-mlm")}
    with Ledger(folder / "plan.jsonl") as ledger:
        ledger.append(PlanOpened(at=1, spec=made.spec.model_dump(mode="json")))
        ledger.append(PhaseStarted(at=1, phase="mlm", **started))
    record = run_plan(made, tmp_path)
    assert record.closing.cause.startswith(cause)
    assert record.state("mlm") == state
    assert (folder / "phases" / "mlm.status").exists() == (state == "failed")
