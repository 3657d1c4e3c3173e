"""A submitted job against a head of its own, as on a cluster."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from corpora import tiny_run

from cogito_ray.sweeps.yaml_io.yaml_writer import dump

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).with_name("ray")
PORTS = {
    "--port": 26379,
    "--dashboard-port": 28265,
    "--dashboard-agent-listen-port": 28365,
    "--ray-client-server-port": 28001,
}
"""Not Ray's own: the session's instance has those."""


def wait_until_open(port, *, seconds):
    deadline = time.monotonic() + seconds
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on port {port} after {seconds} s"
            time.sleep(0.5)


@pytest.fixture
def head(tmp_path_factory):
    """Environment of a client of a fresh head with three CPUs; the head is stopped afterwards."""
    temp = tmp_path_factory.mktemp("r")
    ports = [f"{name}={port}" for name, port in PORTS.items()]
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "c0917o" * 8}
    quick = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
    environment = os.environ | quick | secret
    environment["PATH"] = f"{RAY.parent}:{environment['PATH']}"
    start = [RAY, "start", "--head", "--num-cpus=3", f"--temp-dir={temp}", "--include-dashboard=true", *ports]
    with subprocess.Popen([*start, "--block"], env=environment, stdout=subprocess.DEVNULL) as process:
        wait_until_open(PORTS["--dashboard-port"], seconds=60)
        yield environment | {"RAY_ADDRESS": f"http://127.0.0.1:{PORTS['--dashboard-port']}"}
        process.terminate()
        process.wait(timeout=30)


def submitted(command, environment, *, seconds):
    """The finished job; a head that has only just come up may not yet have an agent to start it."""
    deadline = time.monotonic() + seconds
    while True:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
        if "No available agent" not in done.stdout + done.stderr or time.monotonic() > deadline:
            return done
        time.sleep(1)


@pytest.mark.timeout(300)
def test_a_submitted_sweep_runs_on_the_head_and_leaves_its_record(head, tmp_path):
    sweep = {
        "name": "submitted",
        "run": tiny_run(tmp_path),
        "space": {"objective.rate": {"choice": [0.4, 0.6]}},
        "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
        "budget": {"trials": 2},
    }
    (tmp_path / "sweep.yaml").write_text(dump(sweep))
    entry = ["python", "jobs/sweep.py", str(tmp_path / "sweep.yaml"), "--storage", str(tmp_path / "runs"), "--json"]
    submit = [RAY, "job", "submit", "--working-dir", ".", "--", *entry]
    done = submitted(submit, head, seconds=60)
    assert done.returncode == 0, done.stdout + done.stderr
    said = next(line for line in done.stdout.splitlines() if line.startswith('{"folder"'))
    assert [trial["status"] for trial in json.loads(said)["trials"]] == ["completed", "completed"]
    assert (tmp_path / "runs" / "submitted" / "report.html").exists()
