"""A plan whose driver is killed while a phase runs: the phase goes on, and the same command takes it up."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from corpora import prepared_run

from cogito_ray.records.ledger import NAME, PhaseEnded, PhaseStarted, PlanOpened, SweepOpened, events
from cogito_ray.records.plan_record import NAME as PLAN
from cogito_ray.records.plan_record import read

RANK = "concepts/nuclear_rank"


def drive(file: Path, storage: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "cogito_ray", "plan", str(file), "--storage", str(storage)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.timeout(240)
def test_a_killed_plan_starts_no_phase_twice_and_ends_at_its_gate(tmp_path):
    base = prepared_run(tmp_path)
    phases = {
        "base": {"kind": "run", "settings": base},
        "more": {"kind": "run", "settings": base, "if": f"base.{RANK} > 4"},
        "after_more": {"kind": "analysis", "of": "more"},
        "instead": {"kind": "gate", "else": "more"},
    }
    file = tmp_path / "plan.yaml"
    file.write_text(yaml.safe_dump({"name": "road", "phases": phases}))
    first, ledger = drive(file, tmp_path), tmp_path / "road" / PLAN
    while not (tmp_path / "road-base" / NAME).exists():
        assert first.poll() is None
        time.sleep(0.1)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    second = drive(file, tmp_path)
    told, _ = second.communicate(timeout=200)
    assert second.returncode == 0, told.decode()

    record, happened = read(tmp_path / "road"), events(ledger)
    states = {name: record.state(name) for name in phases}
    assert states == {"base": "complete", "more": "refused", "after_more": "skipped", "instead": "complete"}
    assert sum(isinstance(event, PlanOpened) for event in happened) == 2
    assert [event.phase for event in happened if isinstance(event, PhaseStarted)] == ["base", "instead"]
    assert sum(isinstance(event, SweepOpened) for event in events(tmp_path / "road-base" / NAME)) == 1
    [refused] = [event for event in happened if isinstance(event, PhaseEnded) and event.state == "refused"]
    assert refused.seen["base"][RANK] <= 4
    assert "⊘ more (run): refused" in told.decode()
    assert (tmp_path / "road" / "report.html").is_file()
