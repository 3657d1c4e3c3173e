"""What a submitted job does, against a head of its own that asks for a token, as on a cluster."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from corpora import prepared_run, tiny_run
from fake_autoscaler import free_ports

import cogito_ray as cr
from cogito_ray.records.ledger import NAME, PhaseStarted, events
from cogito_ray.records.plan_record import NAME as PLAN
from cogito_ray.records.plan_record import read as read_plan
from cogito_ray.sweeps.yaml_io.yaml_writer import dump

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).with_name("ray")
PORTS = ("--dashboard-port", "--port", "--dashboard-agent-listen-port", "--ray-client-server-port")
"""Other instances on this machine have those that Ray would take."""
SECRET = "c0917o" * 8
PLANTED = "planted-secret-8d1f"
"""In the environment of the machines."""
pytestmark = pytest.mark.timeout(600)


def wait_until(happens, *, seconds, what):
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, f"not after {seconds} s: {what}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """Environment of a client of a fresh head with three CPUs, and Ray's folder; the head is stopped afterwards."""
    temp = tmp_path_factory.mktemp("r")
    free = free_ports(len(PORTS))
    ports = [f"{name}={port}" for name, port in zip(PORTS, free, strict=True)]
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": SECRET, "STUDY_PASSWORD": PLANTED, "HF_HUB_OFFLINE": "1"}
    quick = {"RAY_DASHBOARD_STARTUP_TIMEOUT_S": "200", "RAY_raylet_start_wait_time_s": "200"}  # beside other tests
    quick |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
    environment = os.environ | quick | secret | {"PYTHONPATH": str(ROOT)}
    environment["PATH"] = f"{RAY.parent}:{environment['PATH']}"
    start = [RAY, "start", "--head", "--num-cpus=3", "--labels=machine=one", f"--temp-dir={temp}", *ports]
    start.append("--include-dashboard=true")
    log = temp.parent / "head.log"
    with log.open("w") as told:
        process = subprocess.Popen([*start, "--block"], env=environment, stdout=told, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: "Ray runtime started" in log.read_text(), seconds=200, what="Ray has started")
        environment.pop("STUDY_PASSWORD")
        yield environment | {"RAY_ADDRESS": f"http://127.0.0.1:{free[0]}"}, temp
    finally:
        process.terminate()
        process.wait(timeout=30)


def command(*words):
    return [sys.executable, "-m", "cogito_ray", *map(str, words)]


def submitted(head, folder, *words, file="sweep.yaml", changed=None):
    """The process of a client that submits `sweep`, `train` or `plan` of a file."""
    sweep = submit(words, folder / file, folder / "runs")
    return subprocess.Popen(
        sweep, cwd=folder, env=head[0] | (changed or {}), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for_a_report(folder, client):
    """Of the run or sweep in a folder, for which a client asked."""

    def reported():
        assert client.poll() is None, client.stdout.read()
        return (folder / NAME).exists() and b'"reported"' in (folder / NAME).read_bytes()

    wait_until(reported, seconds=400, what="a report")


def submit(words, file, storage):
    return command("submit", words[0], file, *words[1:], "--storage", storage)


@pytest.fixture
def sweep(tmp_path):
    """The file of a sweep of two trials, whose folder is `runs/submitted`."""
    tree = {
        "name": "submitted",
        "run": tiny_run(tmp_path),
        "space": {"objective.rate": {"choice": [0.4, 0.6]}},
        "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
        "budget": {"trials": 2},
    }
    (tmp_path / "sweep.yaml").write_text(dump(tree))
    return tmp_path


class Relay:
    """Passes connections on to a port of this machine, until they are cut."""

    def __init__(self, port):
        self._to, self._open, self.cuts = port, [], 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.close()

    def cut(self):
        self.cuts += 1
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        with suppress(OSError):  # closed
            while True:
                near = self._server.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one, other):
        with suppress(OSError):
            while some := one.recv(2**16):
                other.sendall(some)
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def test_a_submitted_sweep_is_examined_followed_over_a_lost_connection_and_leaves_its_record_without_secrets(
    head, sweep
):
    storage = f"search: {{storage: 'sqlite:///{sweep}/${{STUDY_PASSWORD}}.db'}}"
    (sweep / "base.yaml").write_text((sweep / "sweep.yaml").read_text())
    (sweep / "sweep.yaml").write_text(f"extends: base.yaml\nrun: {{plugins: [./loss_of_mine.py]}}\n{storage}\n")
    (sweep / "loss_of_mine.py").write_text("TOLD = 1\n")
    with Relay(int(head[0]["RAY_ADDRESS"].rpartition(":")[2])) as relay:
        client = submitted(head, sweep, "sweep", "--address", f"http://127.0.0.1:{relay.port}")
        said = ""
        for line in client.stdout:
            said += line
            if "storage" in line:  # of the doctor's table: what follows is the sweep's
                relay.cut()
                break
        said += client.stdout.read()
    assert client.wait(timeout=200) == 0, said
    assert "cogito_ray, loss_of_mine.py, sweep.yaml" in said
    assert said.count("written, read and locked by every machine") == 1  # nothing is printed twice
    assert said.count("Report: ") == 1
    assert relay.cuts == 1
    record = cr.load(sweep / "runs" / "submitted").record
    assert [trial.status for trial in record.trials.values()] == ["completed", "completed"]
    assert (sweep / "runs" / "submitted" / "report.html").exists()
    assert (sweep / f"{PLANTED}.db").exists()  # the machines had it, and used it
    jobs = subprocess.run([RAY, "job", "list"], env=head[0], capture_output=True, text=True, check=True).stdout
    assert "cogito-sweep-submitted-" in jobs
    assert not [what for what, text in everything_written(sweep / "runs", head[1]) if PLANTED in text or SECRET in text]
    assert PLANTED not in said + jobs
    assert SECRET not in said + jobs


def everything_written(*folders):
    for file in (file for folder in folders for file in folder.rglob("*") if file.is_file()):
        yield file, file.read_text(errors="replace")


@pytest.fixture
def plan(tmp_path):
    """The file of a plan whose second phase must not start, and which goes on only where the cluster's labels hold."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "mlm.yaml").write_text(dump(prepared_run(tmp_path, tmp_path / "runs")))
    phases = {
        "mlm": {"kind": "run", "file": "mlm.yaml", "pool": "one"},
        "more": {"kind": "run", "file": "mlm.yaml", "if": "mlm.concepts/nuclear_rank > 1000", "stop": True},
    }
    tree = {"name": "road", "phases": phases, "pools": {"one": {"machine": "one"}}}
    (tmp_path / "plan.yaml").write_text(dump(tree))
    return tmp_path


@pytest.mark.chaos
def test_a_submitted_plan_runs_its_phases_on_the_cluster_and_ends_with_its_exit_status(head, plan):
    client = submitted(head, plan, "plan", "--no-doctor", file="plan.yaml")
    said, _ = client.communicate(timeout=200)
    assert client.returncode == 1, said
    assert "cogito_ray, plan.yaml" in said
    assert "✓ mlm (run): complete" in said
    assert "road: stopped at more" in said
    assert cr.load(plan / "runs" / "road-mlm").record.is_complete


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_a_stopped_plan_leaves_its_phase_in_order_and_the_same_command_resumes_it(head, plan):
    long = ("plan", "--no-doctor", "phases.mlm.with={training.steps: 1500}")
    first, folder = submitted(head, plan, *long, file="plan.yaml"), plan / "runs" / "road-mlm"
    job = next(line for line in first.stdout if ": started" in line).partition(": started")[0]
    wait_for_a_report(folder, first)
    subprocess.run([RAY, "job", "stop", job], env=head[0], check=True, capture_output=True)
    said, _ = first.communicate(timeout=200)
    assert (first.returncode, "road: interrupted" in said) == (130, True), said
    assert cr.load(folder).record.is_interrupted
    resumed = submitted(head, plan, *long, file="plan.yaml")
    said, _ = resumed.communicate(timeout=400)
    assert resumed.returncode == 1, said
    started = [event.phase for event in events(plan / "runs" / "road" / PLAN) if isinstance(event, PhaseStarted)]
    assert started == ["mlm", "mlm"]
    assert len(cr.load(folder).record.openings) == 2  # which went on from its checkpoint
    assert read_plan(plan / "runs" / "road").state("mlm") == "complete"


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_a_job_is_steered_joined_left_and_ended_in_order(head, sweep):
    long = ("sweep", "--no-doctor", "run.training.steps=40000")    # not to end before it is stopped
    first = submitted(head, sweep, *long)
    folder = sweep / "runs" / "submitted"
    wait_for_a_report(folder, first)
    second = submitted(head, sweep, *long)
    assert "runs already" in second.stdout.readline()
    other = submitted(head, sweep, *long, "run.training.batch=16")
    assert other.wait(timeout=200) == 2
    assert "runs with other settings" in other.stdout.read()
    steer = subprocess.run(command("stop", 0, "--run", folder), env=head[0], capture_output=True, text=True)
    assert (steer.returncode, steer.stderr) == (0, "")
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=200) == 130
    said = first.stdout.read()
    assert "The job goes on" in said
    stop = said.partition("this stops it: ")[2].split()
    subprocess.run([RAY, *stop[1:]], env=head[0], check=True, capture_output=True)
    assert second.wait(timeout=200) == 130
    assert "interrupted" in second.stdout.read()
    assert cr.load(folder).record.is_interrupted
    resumed = submitted(head, sweep, *long, "budget.trials=3")
    job = next(line for line in resumed.stdout if ": started" in line).partition(": started")[0]
    assert job.endswith("-2")
    subprocess.run([RAY, "job", "stop", job], env=head[0], check=True, capture_output=True)
    assert resumed.wait(timeout=200) == 130


@pytest.mark.chaos
def test_a_command_that_fails_there_fails_here(head, sweep):
    client = submitted(head, sweep, "sweep", "--no-doctor", "run.data.sources={library: {kind: files, path: /nowhere}}")
    assert client.wait(timeout=100) == 2
    assert "/nowhere" in client.stdout.read()


@pytest.mark.parametrize(("token", "fault"), [(None, "none was given"), ("ab" * 24, "the one given is wrong")])
def test_a_client_without_the_token_is_refused_with_a_way_out(head, sweep, tmp_path, token, fault):
    there = {"HOME": str(tmp_path)} | ({"RAY_AUTH_TOKEN": token} if token else {})
    environment = {name: value for name, value in head[0].items() if name != "RAY_AUTH_TOKEN"} | there
    client = submitted((environment, None), sweep, "sweep")
    assert client.wait(timeout=60) == 2
    said = client.stdout.read()
    assert fault in said
    assert "RAY_AUTH_TOKEN, or put into" in said
