"""A plan's phases as processes on this machine, which outlive the plan's driver and are found again by the next one.

A process holds the lock of its file as long as it lives; a shell around it leaves its exit status beside it.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cogito_ray.records.file_locks import is_held, lent

BY_RAY = "RAY_JOB_STOP_SIGNAL"
"""Is set in a submitted job, which Ray stops by a signal to all processes below it. A second one would hurry Tune."""
SHELL = 'trap : INT TERM; "$@"; echo $? > "$0.part"; mv "$0.part" "$0"'
"""Runs its arguments and leaves their exit status. A trap that does something is no trap in children."""


class PhaseProcesses:
    """Those of one plan, with their files in one folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._children = list[subprocess.Popen[bytes]]()

    def start(self, phase: str, arguments: Sequence[str]) -> None:
        """Run `cogito-ray ARGUMENTS`. Busy where it runs already."""
        self.folder.mkdir(parents=True, exist_ok=True)
        status = self._file(phase, "status")
        command = ["sh", "-c", SHELL, str(status), sys.executable, "-m", "cogito_ray", *arguments]
        with lent(self._file(phase, "lock")) as lock, self.log(phase).open("ab") as log, _interruptible():
            status.unlink(missing_ok=True)
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(lock,), start_new_session=True
            )
            self._children.append(child)
            self._file(phase, "pid").write_text(str(child.pid))

    def is_running(self, phase: str) -> bool:
        """Also one that an earlier driver started."""
        self._children = [child for child in self._children if child.poll() is None]
        return is_held(self._file(phase, "lock"))

    def status(self, phase: str) -> int | None:
        """With which it has ended; None for one that was killed, or never started."""
        file = self._file(phase, "status")
        return int(file.read_text()) if file.is_file() else None

    def interrupt(self, phases: Sequence[str]) -> None:
        """As Ctrl-C would: they leave checkpoints, and end. How is forgotten, so that they start again."""
        for phase in filter(self.is_running, phases) if BY_RAY not in os.environ else ():
            os.killpg(int(self._file(phase, "pid").read_text()), signal.SIGINT)
        while any(map(self.is_running, phases)):
            time.sleep(0.1)
        for phase in phases:
            self._file(phase, "status").unlink(missing_ok=True)

    def log(self, phase: str) -> Path:
        """File of what it prints."""
        return self._file(phase, "log")

    def last_line(self, phase: str) -> str:
        """Of what it printed."""
        return self.log(phase).read_text(errors="replace").strip().rpartition("\n")[2]

    def _file(self, phase: str, kind: str) -> Path:
        return self.folder / f"{phase}.{kind}"


@contextmanager
def _interruptible() -> Iterator[None]:
    """What is started here can be interrupted, also where this process ignores that (in the background of a script)."""
    ignores = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignores and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    else:
        yield
