"""Machines that are network namespaces of this one, with Ray's token authentication: a head and those that join it."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from cogito_ray.records.ledger import NAME

ROOT = Path(__file__).parents[3]
RAY = Path(sys.executable).with_name("ray")
PID = os.getpid()
BRIDGE, NETWORK = f"cg{PID}", f"10.{64 + PID // 256 % 128}.{PID % 256}"
"""Nobody else's: two runs of these tests may lie side by side."""
HEAD, HERE = f"{NETWORK}.1", f"{NETWORK}.254"
"""Addresses of the first machine, and of this one."""
DASHBOARD = f"http://{HEAD}:8265"
TOKEN = "70ke" * 12
PATIENCE = {"RAY_DASHBOARD_STARTUP_TIMEOUT_S": "200", "RAY_raylet_start_wait_time_s": "200"}
"""Ray gives up where it starts slowly, as beside other tests."""
HEALTH = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "5",
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30",
    **PATIENCE,
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


@contextmanager
def network():
    """A bridge between machines, this one among them. Skips where there may be none."""
    if fault := ip("link", "add", BRIDGE, "type", "bridge"):
        pytest.skip(f"network namespaces are not to be had here: {fault.strip()}")
    ip("address", "add", f"{HERE}/24", "dev", BRIDGE)
    ip("link", "set", BRIDGE, "up")
    yield
    ip("link", "delete", BRIDGE)


class Machine:
    """A network namespace in which Ray runs."""

    def __init__(self, number, temp, environment, *options):
        self.name = pair = f"{BRIDGE}-{number}"
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
        self._enter = ["ip", "netns", "exec", self.name, *shell]
        self._environment = os.environ | ENVIRONMENT | HEALTH | environment
        self.log = temp / f"{self.name}.log"
        start = [RAY, "start", "--block", f"--node-ip-address={NETWORK}.{number}", "--object-store-memory=100000000"]
        self.process = self.run(*start, *options, log=self.log)

    def run(self, *command, log):
        """A process on it that writes into a file."""
        written = {"stdout": log.open("w"), "stderr": subprocess.STDOUT}
        return subprocess.Popen([*self._enter, *map(str, command)], env=self._environment, **written)

    def lose(self):
        """All at once, as without power."""
        for pid in subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True).stdout.split():
            os.kill(int(pid), signal.SIGKILL)
        self.process.wait(timeout=30)
        self.remove()

    def remove(self):
        """What there is of it after its processes: a later one of its name would lack a wire."""
        ip("link", "delete", self.name)
        ip("netns", "delete", self.name)


class Cluster:
    """A head without CPUs, and machines with two each."""

    def __init__(self, temp, running, environment):
        self.temp, self.running, self.environment = temp, running, environment

    def start_head(self, *options):
        where = [f"--dashboard-host={HEAD}", f"--temp-dir={self.temp / 'ray'}"]
        return self._start(1, "--head", "--num-cpus=0", *where, *options)

    def join(self, number):
        return self._start(number, f"--address={HEAD}:6379", "--num-cpus=2")

    def _start(self, number, *options):
        machine = Machine(number, self.temp, self.environment, *options)
        self.running.callback(lambda: machine.lose() if machine.process.poll() is None else machine.remove())

        def has_started():
            assert machine.process.poll() is None, machine.log.read_text()
            return "Ray runtime started" in machine.log.read_text()

        wait_until(has_started, seconds=300, what="Ray has started")
        return machine


@contextmanager
def cluster_in(temp, **environment):
    """Its machines' common folder, and what their environments have besides."""
    with network(), ExitStack() as running:
        yield Cluster(temp, running, environment)


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
