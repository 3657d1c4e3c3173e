"""Who drives an experiment in an object store: terms, each of one driver, which renews it until it ends.

A term begins with the creation of an object that only one can create. Who takes over first sees a whole lease go by in
which nothing was renewed (by no clock but its own), unless the driver's process is one of this machine and gone. One
that stood still meanwhile learns of it at its next event: see `ledger_segments`.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from threading import Event, Thread

from cogito_ray.object_storage.ledger_segments import SEGMENTS, segments_of
from cogito_ray.object_storage.object_store import ObjectStore
from cogito_ray.object_storage.storage_mirror import Mirror, mirror_of
from cogito_ray.records.file_locks import Busy, hold, is_held

log = logging.getLogger(__name__)
LEASE_S = 60.0
SHOWN_S = 3 * LEASE_S
"""So long after it was last renewed, a driver is said to live: clocks of machines differ."""
LOCKED_WITHIN_S = 300.0
LEDGER = "ledger.jsonl"
DRIVERS = "drivers"
"""Folder of one folder a term."""
TERM = ".driver-term"
"""File beside the ledger in the mirror of a driver, which locks it: the number of its term."""


@dataclass(frozen=True)
class DriverLease:
    """Of the experiment whose ledger this is the mirrored file of."""

    mirror: Mirror
    ledger: Path

    @contextmanager
    def held(self, who: str, lost: Callable[[], None]) -> Iterator[None]:
        """Drive it. Raises Busy, with who does, while another one does. `lost` is called where one took over."""
        self.mirror.begin()
        self.ledger.parent.mkdir(parents=True, exist_ok=True)
        with hold(self._term_file):
            term, ended = self._taken(who), Event()
            self._term_file.write_text(str(term))
            Thread(target=partial(self._renew, term, ended, lost), daemon=True, name="driver lease").start()
            try:
                self._close_ledger_to_others(term)
                yield
            finally:
                ended.set()
                self._term_file.write_text("")
                with suppress(OSError):    # else it runs out
                    self._hasty.create(self._name(term, "over"), b"{}\n")

    def holder(self) -> str:
        """Who drives it, in words; empty where nobody does."""
        term, objects = self._terms()
        if not term or self._name(term, "over") in objects:
            return ""
        taken = json.loads(self.mirror.store.read(self._name(term, "taken")))
        if (lives := _lives(taken["process"])) is None:
            alive = self._renewed(term, objects)
            lives = time.time() - float(alive or taken["at"]) < SHOWN_S
        return str(taken["who"]) if lives else ""

    def refuse_lost(self) -> None:
        """Raises Busy where this machine drives, by a term that is over."""
        mine = self._term_file.read_text() if is_held(self._term_file) else ""
        if mine and (term := self._terms()[0]) > int(mine):
            raise Busy(f"{self.mirror.url}: {self._name(term, 'taken')}: another driver took over from this one")

    @cached_property
    def _hasty(self) -> ObjectStore:
        return replace(self.mirror.store, patience_s=LEASE_S / 4)

    @property
    def _term_file(self) -> Path:
        return self.ledger.with_name(TERM)

    def _name(self, term: int, what: str) -> str:
        return self.mirror.name_of(self.ledger.parent / DRIVERS / f"{term:08d}" / what)

    def _terms(self) -> tuple[int, dict[str, int]]:
        """(the newest, 0 where there is none; the objects of all)."""
        objects = self.mirror.store.sizes(self.mirror.name_of(self.ledger.parent / DRIVERS))
        return max((int(name.split("/")[-2]) for name in objects), default=0), objects

    def _renewed(self, term: int, objects: dict[str, int]) -> str:
        name = self._name(term, "alive")
        return self.mirror.store.read(name).decode() if name in objects else ""

    def _taken(self, who: str) -> int:
        term, objects = self._terms()
        if term and self._name(term, "over") not in objects:
            taken = json.loads(self.mirror.store.read(self._name(term, "taken")))
            if _lives(taken["process"]) or (_lives(taken["process"]) is None and self._is_renewed(term, taken["who"])):
                raise Busy(str(taken["who"]))
        content = json.dumps({"who": who, "process": _process(os.getpid()), "at": time.time()})
        if not self.mirror.store.create(self._name(term + 1, "taken"), content.encode()):
            raise Busy("another one that has just started")
        return term + 1

    def _is_renewed(self, term: int, who: str) -> bool:
        log.warning("waiting for up to %g s, to see whether its last driver lives: %s", LEASE_S, who)
        before, deadline = self._renewed(term, self._terms()[1]), time.monotonic() + LEASE_S
        while time.monotonic() < deadline:
            time.sleep(LEASE_S / 30)
            newest, objects = self._terms()
            if newest > term or self._renewed(term, objects) != before:
                return True
        return False

    def _close_ledger_to_others(self, term: int) -> None:
        """An empty line, after which none comes of a driver that does not know of this one."""
        segments = segments_of(self.ledger)
        assert segments is not None
        with hold(self.ledger, patience_s=LOCKED_WITHIN_S):
            segments.pull()    # of several empty lines this one comes last
            segments.append(b"\n", self.refuse_lost)
        self.refuse_lost()

    def _renew(self, term: int, ended: Event, lost: Callable[[], None]) -> None:
        while not ended.wait(LEASE_S / 4):
            with suppress(OSError):
                self._hasty.write(self._name(term, "alive"), str(time.time()).encode())
                if self._terms()[0] > term:
                    return lost()


def lease_of(ledger: Path) -> DriverLease | None:
    """None where the ledger is a plain file."""
    mirror = mirror_of(ledger)
    return DriverLease(mirror, ledger.absolute()) if mirror else None


def refresh(ledger: Path) -> None:
    """Bring the mirrored file of a ledger up to date, where no driver of this machine keeps it so."""
    segments = segments_of(ledger)
    if segments is None or is_held(ledger.with_name(TERM)):
        return
    if segments.mirror.store.sizes(segments.mirror.name_of(ledger.parent / SEGMENTS)):
        ledger.parent.mkdir(parents=True, exist_ok=True)
        with hold(ledger, patience_s=LOCKED_WITHIN_S):
            segments.pull()


def refresh_all(storage: Path) -> None:
    """The same of every ledger right below a storage."""
    mirror = mirror_of(storage)
    for name in mirror.store.folders() if mirror else []:
        refresh(storage / name / LEDGER)


def _process(pid: int) -> dict[str, str]:
    """Names a process for good; empty where it is gone."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return {}
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    machine = f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return {} if state == "Z" else {"machine": machine, "pid": str(pid), "started": fields[18]}


def _lives(process: dict[str, str]) -> bool | None:
    """None where that cannot be told from here."""
    if process["machine"] != _process(os.getpid())["machine"]:
        return None
    return _process(int(process["pid"])) == process
