"""A ledger in an object store: one object a line, named after the byte of the ledger at which it begins.

Whoever appends creates the object at the end as he knows it; where another one was faster, he reads on and tries again.
So the lines are in one order for everybody, and a driver whose lease went to another finds that out before anything
that it appends is taken for true. The file beside the mirror's trials is always a beginning of the ledger.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cogito_ray.object_storage.storage_mirror import AT_ONCE, Mirror, mirror_of

SEGMENTS = "ledger"
"""Folder of the objects, beside where the file would be."""


@dataclass(frozen=True)
class LedgerSegments:
    """Of one ledger. Whoever calls holds the lock of its file."""

    mirror: Mirror
    file: Path

    def append(self, line: bytes, refuse_lost: Callable[[], None]) -> None:
        """A line, in the store when this returns. `refuse_lost`: raises where somebody else drives by now."""
        if self._is_torn():
            self.pull()
        while not self.mirror.store.create(self._name(end := self._size()), line):
            refuse_lost()
            self.pull()
            if self._size() == end:
                raise OSError(f"{self.mirror.url}: holds {self._name(end)}, but does not list it")
        self._write(line)

    def pull(self) -> None:
        """Bring the file up to date. ValueError where the store's lines do not continue it."""
        have, names = self._size(), sorted(self._sizes().items())
        due = [(start, size) for start, size in names if start + size > have]
        end = max((start + size for start, size in names), default=0)
        if end < have:
            raise ValueError(f"{self.file}: is ahead of {self.mirror.url}; delete {self.mirror.root}, a mirror of it")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            contents = pool.map(self.mirror.store.read, [self._name(start) for start, _ in due])
            for (start, size), content in zip(due, contents, strict=True):
                if start > have:
                    raise ValueError(f"{self.mirror.url}: {self._name(have)} is missing; put it back")
                self._write(content[have - start :])
                have = start + size

    def _sizes(self) -> dict[int, int]:
        found = self.mirror.store.sizes(self.mirror.name_of(self.file.parent / SEGMENTS))
        return {int(name.rpartition("/")[2]): size for name, size in found.items()}

    def _name(self, start: int) -> str:
        return self.mirror.name_of(self.file.parent / SEGMENTS / f"{start:016d}")

    def _size(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    def _is_torn(self) -> bool:
        """A process was killed while it wrote the file: the object it wrote before is whole."""
        if not (size := self._size()):
            return False
        with self.file.open("rb") as opened:
            opened.seek(size - 1)
            return opened.read() != b"\n"

    def _write(self, content: bytes) -> None:
        with self.file.open("ab") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())


def segments_of(file: Path) -> LedgerSegments | None:
    """None where the ledger is a plain file."""
    mirror = mirror_of(file)
    return LedgerSegments(mirror, file) if mirror else None
