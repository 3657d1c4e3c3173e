"""A lock ends with its holder: where the kernel keeps it, and where the filesystem knows no locks."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys

import pytest

from cogito_ray.records import file_locks
from cogito_ray.records.file_locks import NO_FLOCK, Busy, hold

LEASE_S = 0.3
HOLDER = """
import fcntl, os, socket, sys, time
from pathlib import Path
from cogito_ray.records import file_locks as locks

def refuse(*given):
    raise OSError(int(sys.argv[2]), os.strerror(int(sys.argv[2])))

if sys.argv[2] != "0":
    fcntl.flock = refuse
socket.gethostname = lambda: sys.argv[3]
locks.LEASE_S = float(sys.argv[4])
with locks.hold(Path(sys.argv[1]), patience_s=5.0, lost=lambda: print("lost", flush=True)):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Starts a process that holds the lock, on a filesystem that answers flock so, on a host of this name."""
    started = []

    def start(fault, host):
        command = [sys.executable, "-c", HOLDER, str(tmp_path / "lock"), str(fault), host, str(LEASE_S)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def answering(monkeypatch):
    """The filesystem answers flock with an error, here as well."""

    def answer(fault):
        def refuse(*given):
            raise OSError(fault, os.strerror(fault))

        if fault:
            monkeypatch.setattr(fcntl, "flock", refuse)
        monkeypatch.setattr(file_locks, "LEASE_S", LEASE_S)

    return answer


@pytest.mark.parametrize("fault", [0, errno.ENOSYS], ids=["flock", "no flock"])
def test_a_lock_is_refused_while_its_holder_lives_and_free_when_it_is_killed(tmp_path, holder, answering, fault):
    answering(fault)
    held = holder(fault, socket.gethostname())
    with pytest.raises(Busy, match="held by another process"), hold(tmp_path / "lock"):
        pass
    held.kill()
    held.wait()
    with hold(tmp_path / "lock"):
        pass


@pytest.mark.parametrize("fault", NO_FLOCK, ids=errno.errorcode.get)
def test_a_filesystem_that_knows_no_flock_is_as_good(tmp_path, answering, fault):
    answering(fault)
    for _ in range(2):
        with hold(tmp_path / "lock"):
            assert [file.name for file in tmp_path.iterdir() if file.stat().st_size] == ["lock.lease"]


def test_any_other_fault_of_the_filesystem_is_told(tmp_path, answering):
    answering(errno.EIO)
    with pytest.raises(OSError, match="Input/output error"), hold(tmp_path / "lock"):
        pass


def test_a_lease_of_a_machine_that_went_away_runs_out(tmp_path, holder, answering):
    answering(errno.ENOSYS)
    gone = holder(errno.ENOSYS, "another")
    with pytest.raises(Busy), hold(tmp_path / "lock"):
        pass
    gone.kill()
    gone.wait()
    with hold(tmp_path / "lock", patience_s=5.0):
        pass


def test_who_stood_still_until_its_lease_ran_out_hears_that_it_is_lost(tmp_path, holder, answering):
    answering(errno.ENOSYS)
    still = holder(errno.ENOSYS, socket.gethostname())
    os.kill(still.pid, signal.SIGSTOP)
    with hold(tmp_path / "lock", patience_s=5.0):
        os.kill(still.pid, signal.SIGCONT)
        assert still.stdout.readline() == "lost\n"
