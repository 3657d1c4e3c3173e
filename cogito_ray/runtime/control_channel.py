"""How requests reach the driver of a sweep: files in its folder, or objects, which whoever sees the storage may write.

Another way, such as messages, is another class with these methods; nothing else knows of the files.
"""

import getpass
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from cogito_ray.atomic_files import atomic_write_text
from cogito_ray.base_spec import Spec
from cogito_ray.object_storage.driver_lease import lease_of
from cogito_ray.object_storage.storage_mirror import mirror_of, upload
from cogito_ray.records.control_requests import ControlRequest
from cogito_ray.records.file_locks import is_held
from cogito_ray.records.ledger import NAME, Commented, Ledger

REQUESTS = "requests"
"""Folder of one file a request, beside the ledger."""
DRIVER = "driver.lock"
"""File of a sweep or run that its driver locks, and in which it says who it is."""


def driver_of(folder: Path) -> str:
    """Who works at a sweep or run; empty while nobody does."""
    if (lease := lease_of(folder / NAME)) is not None:
        return lease.holder()
    lock = folder / DRIVER
    return said_by(lock) if is_held(lock) else ""


def said_by(lock: Path) -> str:
    """Who holds it, in words."""
    return (lock.read_text(errors="replace").strip() if lock.exists() else "") or f"it holds {lock}"


def whoami() -> str:
    """The user of this process, and its machine."""
    return f"{getpass.getuser()} on {socket.gethostname()}"


def comment(ledger: Path, text: str, trial: str | None = None) -> Path:
    """Keep what the user of this process makes of an experiment, or of a trial, also while others write its ledger."""
    with Ledger(ledger) as opened:
        opened.append(Commented(at=time.time(), by=whoami(), text=text.strip(), trial=trial))
    return ledger


class Asked(Spec):
    """A request on its way."""

    id: str
    by: str
    request: ControlRequest


@dataclass(frozen=True)
class ControlChannel:
    """Of the sweep in one folder. Many may send, its driver alone receives."""

    folder: Path

    def send(self, request: ControlRequest) -> Asked:
        """What was sent; later requests have later ids."""
        asked = Asked(id=f"{time.time_ns()}-{uuid.uuid4().hex[:8]}", by=whoami(), request=request)
        self._file(asked).parent.mkdir(exist_ok=True)
        atomic_write_text(self._file(asked), asked.model_dump_json())
        upload(self._file(asked))
        return asked

    def received(self) -> Iterator[Asked]:
        """What was sent and neither withdrawn nor done with, first come first."""
        if (mirror := mirror_of(self.folder)) is not None:
            mirror.download(self.folder / REQUESTS)
        files = sorted((self.folder / REQUESTS).glob("*.json"))    # costs one listing where there is nothing
        for file in files:
            with suppress(FileNotFoundError):
                try:
                    yield Asked.model_validate_json(file.read_text())
                except ValidationError:    # of another version: its sender waits in vain, and says so
                    self._delete(file)

    def remove(self, asked: Asked) -> bool:
        """The driver has done with it, or its sender withdraws it. Was it still there?"""
        return self._delete(self._file(asked))

    def _delete(self, file: Path) -> bool:
        if (mirror := mirror_of(file)) is not None:    # first, else it comes again
            mirror.store.remove(mirror.name_of(file))
        try:
            file.unlink()
        except FileNotFoundError:
            return False
        return True

    def _file(self, asked: Asked) -> Path:
        return self.folder / REQUESTS / f"{asked.id}.json"
