"""Locks between processes that end with their holder, on any filesystem.

flock where there is one: the kernel frees it, also after SIGKILL. Elsewhere (Lustre mounted without it) a file beside
it is leased: a dead holder on this machine is seen at once, one on another when nothing renewed the file for LEASE_S.
"""

import errno
import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLease, Timeout

LEASE_S = 60.0
NO_FLOCK = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}
"""How a filesystem says that it has no flock."""


class Busy(ValueError):
    """Another process holds the lock."""


@contextmanager
def hold(path: Path, *, patience_s: float = 0.0, lost: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of the file `path`, which is made if need be. Raises Busy if others hold it for longer than that.

    `lost` hears of a lease that ran out because this process stood still, so that another one may hold it now.
    """
    lock = _acquired(path, patience_s, lost)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def lent(path: Path) -> Iterator[int]:
    """A descriptor that holds the flock of `path` until all processes that inherit it are gone. Raises Busy."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as busy:
            raise Busy(f"{path} is held by another process") from busy
        yield file.fileno()


def is_held(path: Path) -> bool:
    """Does some process hold the lock of `path`? Holds it for an instant, shared with others who ask."""
    lease = path.with_name(f"{path.name}.lease")
    if lease.exists() and time.time() - lease.stat().st_mtime < LEASE_S:
        return True
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError as fault:
        if fault.errno not in NO_FLOCK:
            raise
    return False


def _acquired(path: Path, patience_s: float, lost: Callable[[], None]) -> BaseFileLock:
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=patience_s)
    except Timeout as busy:
        raise Busy(f"{path} is held by another process") from busy
    except OSError as fault:
        if fault.errno not in NO_FLOCK:
            raise
        return _leased(path.with_name(f"{path.name}.lease"), patience_s, lost)
    return lock


def _leased(path: Path, patience_s: float, lost: Callable[[], None]) -> BaseFileLock:
    """Only when a whole lease has gone by is it known whether a holder on another machine lives."""
    lock = SoftFileLease(path, lease_duration=LEASE_S, on_compromise=lambda _: lost())
    try:
        lock.acquire(timeout=max(patience_s, 1.5 * LEASE_S))
    except Timeout as busy:
        raise Busy(f"{path} is held by another process") from busy
    return lock
