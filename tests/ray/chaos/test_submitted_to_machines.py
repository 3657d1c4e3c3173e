"""Jobs on a head and two more machines, each a network namespace of its own, one of which is lost on the way."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from corpora import tiny_run

import cogito_ray as cr
from cogito_ray.records.ledger import NAME
from cogito_ray.sweeps.yaml_io.yaml_writer import dump

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[3]
RAY = Path(sys.executable).with_name("ray")
BRIDGE, NETWORK = "cogito-br", "10.77.41"
DASHBOARD = f"http://{NETWORK}.1:8265"
TOKEN = "70ke" * 12
HEALTH = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "5",
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30",
}
"""So that a machine that is lost is held to be lost after seconds; Ray's own settings take a minute."""
ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": TOKEN,
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONUNBUFFERED": "1",
    "GLOO_SOCKET_IFNAME": "eth0",
    "HF_HUB_OFFLINE": "1",
    "PYTHONPATH": str(ROOT),
    "PATH": f"{RAY.parent}:{os.environ['PATH']}",
}


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    return done.stderr if done.returncode else ""


@pytest.fixture(scope="module")
def network():
    """A bridge between machines, this one among them."""
    if fault := ip("link", "add", BRIDGE, "type", "bridge"):
        pytest.skip(f"network namespaces are not to be had here: {fault.strip()}")
    ip("address", "add", f"{NETWORK}.254/24", "dev", BRIDGE)
    ip("link", "set", BRIDGE, "up")
    yield
    ip("link", "delete", BRIDGE)


class Machine:
    """A network namespace in which Ray runs."""

    def __init__(self, number, temp, *options):
        self.name = f"cogito{number}"
        pair = f"cogito-v{number}"
        ip("netns", "add", self.name)
        ip("link", "add", pair, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("link", "set", pair, "master", BRIDGE, "up")
        ip("-n", self.name, "link", "set", "lo", "up")
        ip("-n", self.name, "address", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
        ip("-n", self.name, "link", "set", "eth0", "up")
        # A disk of its own below /tmp: `ip netns exec` gives a view of the mounts that is nobody else's.
        own, seen = temp / self.name, temp / "ray"
        for folder in (own, seen):
            folder.mkdir(exist_ok=True)
        shell = ["sh", "-c", f'mount --bind {own} {seen} && exec "$@"', "sh"]
        self.log = temp / f"{self.name}.log"
        start = [RAY, "start", "--block", f"--node-ip-address={NETWORK}.{number}", "--object-store-memory=100000000"]
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.name, *shell, *start, *options],
            env=os.environ | ENVIRONMENT | HEALTH,
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
        )

    def lose(self):
        """All at once, as without power."""
        for pid in subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True).stdout.split():
            os.kill(int(pid), signal.SIGKILL)
        self.process.wait(timeout=30)
        ip("netns", "delete", self.name)


@contextmanager
def cluster_of(temp, nodes):
    """A head without CPUs and machines with two each; gives a call that adds one."""
    with ExitStack() as running:

        def start(number, *options):
            machine = Machine(number, temp, *options)
            running.callback(lambda: machine.process.poll() is None and machine.lose())
            return machine

        def join(number):
            machine = start(number, f"--address={NETWORK}.1:6379", "--num-cpus=2")
            wait_until(lambda: "Ray runtime started" in machine.log.read_text(), seconds=60, what="it has joined")
            return machine

        start(1, "--head", "--num-cpus=0", f"--dashboard-host={NETWORK}.1", f"--temp-dir={temp / 'ray'}")
        wait_until(lambda: asked("ray", "job", "list").returncode == 0, seconds=120, what="the head answers")
        yield [join(number) for number in range(2, 2 + nodes)], join


def asked(*words, **changed):
    program = [RAY, *words[1:]] if words[0] == "ray" else [sys.executable, "-m", "cogito_ray", *words]
    environment = os.environ | ENVIRONMENT | {"RAY_ADDRESS": DASHBOARD} | changed
    return subprocess.run(program, env=environment, capture_output=True, text=True, timeout=600)


def wait_until(happens, *, seconds, what):
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, f"not after {seconds} s: {what}"
        time.sleep(0.3)


def submitted(*words):
    environment = os.environ | ENVIRONMENT | {"RAY_ADDRESS": DASHBOARD}
    given = [sys.executable, "-m", "cogito_ray", "submit", *map(str, words)]
    return subprocess.Popen(given, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def reports(folder):
    return (folder / NAME).read_bytes().count(b'"reported"') if (folder / NAME).exists() else 0


@pytest.fixture(scope="module")
def there(network, tmp_path_factory):
    """A folder that all machines see; the machines; and what adds one."""
    temp = tmp_path_factory.mktemp("s")
    with cluster_of(temp, nodes=2) as (machines, join):
        yield temp, machines, join


def test_a_sweep_and_a_run_on_two_machines_outlive_one_of_them(there):
    temp, machines, join = there
    run, storage = tiny_run(temp), temp / "runs"
    run["training"] |= {"steps": 400, "report_every": 20, "checkpoint_every": 20}
    run["evaluation"]["word_probes"] = None
    sweep = {
        "name": "sent",
        "run": run | {"cpus_per_worker": 1.5},
        "space": {"objective.rate": {"choice": [0.3, 0.4, 0.5, 0.6]}},
        "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
        "budget": {"trials": 4},
    }
    (temp / "sweep.yaml").write_text(dump(sweep))
    client = submitted("sweep", temp / "sweep.yaml", "--storage", storage)
    wait_until(lambda: reports(storage / "sent") >= 4 or client.poll() is not None, seconds=300, what="reports")
    machines.pop().lose()
    said = client.communicate(timeout=400)[0]
    assert client.returncode == 0, said
    assert said.count("all-reduce, gloo") == 1
    assert "fault " not in said
    assert [trial.status for trial in cr.load(storage / "sent").record.trials.values()] == ["completed"] * 4

    machines.append(join(4))
    (temp / "pair.yaml").write_text(dump(run | {"workers": 2, "cpus_per_worker": 1.5}))
    client = submitted("train", temp / "pair.yaml", "--no-doctor", "--storage", storage)
    wait_until(lambda: reports(storage / "pair") >= 4 or client.poll() is not None, seconds=300, what="reports")
    machines.pop().lose()
    machines.append(join(5))
    said = client.communicate(timeout=400)[0]
    assert client.returncode == 0, said
    [trial] = cr.load(storage / "pair").record.trials.values()
    assert (trial.status, trial.step) == ("completed", 400)


def test_a_machine_that_does_not_see_the_storage_is_named(there):
    temp, *_ = there
    (temp / "blocked").write_text("no folder")
    found = asked("doctor", "--storage", str(temp / "blocked" / "runs"))
    assert found.returncode == 1
    assert len(re.findall(r"fault +storage", found.stdout)) == 3


def test_a_client_without_the_token_is_refused(there):
    refused = asked("doctor", "--storage", "/tmp/none", RAY_AUTH_TOKEN="no" * 24)
    assert refused.returncode == 2
    assert "the one given is wrong" in refused.stderr
