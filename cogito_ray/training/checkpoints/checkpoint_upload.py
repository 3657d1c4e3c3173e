"""Copies of a run's checkpoints on a filesystem that pyarrow opens by URL: s3://, gs://, file://, fsspec+...://; or in
the object store that the run's storage is.

A checkpoint there is whole once the file that is sent last has arrived.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from cogito_ray.object_storage.storage_mirror import Mirror, mirror_of

CHUNK = 16 * 2**20
"""Bytes held in memory at a time."""


class Remote(Protocol):
    """Folders of one run, elsewhere. Each raises OSError where it fails."""

    def put(self, folder: Path, *, last: str) -> None:
        """Copy a folder, one of its files last."""

    def get(self, name: str, target: Path) -> None:
        """Copy a folder's files into `target`, which exists."""

    def complete(self, last: str) -> list[str]:
        """Names of the folders whose last file has arrived."""

    def keep(self, names: set[str]) -> None:
        """Delete all other folders."""


class RemoteFolder:
    """Folders of one run below a URL."""

    def __init__(self, url: str, run_digest: str):
        self._url, self._run = url, run_digest

    @cached_property
    def _root(self) -> tuple[Any, str]:
        """The filesystem, and the run's folder there. It is opened when it is first needed."""
        from pyarrow.fs import FileSystem

        system, path = FileSystem.from_uri(self._url)
        return system, f"{path.rstrip('/')}/{self._run}"

    def put(self, folder: Path, *, last: str) -> None:
        """Copy a folder, one of its files last. OSError where that fails."""
        from pyarrow.fs import LocalFileSystem, copy_files

        system, root = self._root
        target = f"{root}/{folder.name}"
        if folder.name in {info.base_name for info in self._below(root)}:
            system.delete_dir(target)
        system.create_dir(target, recursive=True)
        for file in sorted(folder.iterdir(), key=lambda file: file.name == last):
            copy_files(str(file), f"{target}/{file.name}", LocalFileSystem(), system, chunk_size=CHUNK)

    def get(self, name: str, target: Path) -> None:
        """Copy a folder's files into `target`, which exists."""
        from pyarrow.fs import LocalFileSystem, copy_files

        system, root = self._root
        copy_files(f"{root}/{name}", str(target), system, LocalFileSystem(), chunk_size=CHUNK)

    def complete(self, last: str) -> list[str]:
        """Names of the folders whose last file has arrived."""
        _, root = self._root
        names = [info.base_name for info in self._below(root)]
        return sorted(name for name in names if any(f.base_name == last for f in self._below(f"{root}/{name}")))

    def keep(self, names: set[str]) -> None:
        """Delete all other folders."""
        system, root = self._root
        for info in self._below(root):
            if info.base_name not in names:
                system.delete_dir(info.path)

    def _below(self, path: str) -> list[Any]:
        from pyarrow.fs import FileSelector

        found: list[Any] = self._root[0].get_file_info(FileSelector(path, allow_not_found=True))
        return found


@dataclass(frozen=True)
class StoredFolders:
    """Folders below one of a mirrored storage. One of them is there if and only if its last file is."""

    mirror: Mirror
    folder: Path
    last: str

    def put(self, folder: Path, *, last: str) -> None:
        """Copy a folder, one of its files last; what was there under its name is no longer whole from then on."""
        self._delete(self._objects(folder.name))
        self.mirror.upload(folder, last=last)

    def get(self, name: str, target: Path) -> None:
        """Copy a folder's files into `target`, which exists."""
        for found in self._objects(name):
            self.mirror.store.download(found, target / found.rpartition("/")[2])

    def complete(self, last: str) -> list[str]:
        """Names of the folders whose last file has arrived."""
        return sorted(found.split("/")[-2] for found in self._objects() if found.endswith(f"/{last}"))

    def keep(self, names: set[str]) -> None:
        """Delete all other folders."""
        self._delete([found for found in self._objects() if found.split("/")[-2] not in names])

    def _objects(self, name: str = "") -> list[str]:
        return list(self.mirror.store.sizes(self.mirror.name_of(self.folder / name)))

    def _delete(self, objects: list[str]) -> None:
        """The last files first: a kill leaves none that seems whole."""
        for found in sorted(objects, key=lambda name: not name.endswith(f"/{self.last}")):
            self.mirror.store.remove(found)


def stored_folders(folder: Path, *, last: str) -> StoredFolders | None:
    """None where `folder` is in no object store."""
    mirror = mirror_of(folder)
    return StoredFolders(mirror, folder, last) if mirror else None


class Uploader:
    """Sends folders in a thread of its own, the newest first, so that a slow or unreachable filesystem costs copies,
    never training. What fails is tried again with the next one. `note` is told, once, until it works again."""

    def __init__(self, remote: Remote, note: Callable[[str], None], *, last: str):
        self._remote, self._note, self._last = remote, note, last
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="upload")
        self._task: Future[None] | None = None
        self._lock = Lock()
        self._keep, self._pending = set[Path](), set[Path]()
        self._failed = False
        self.under_way: Path | None = None
        """Must not be deleted now."""

    def send(self, folder: Path, *, keep: set[Path]) -> None:
        """Soon, with all that is still pending of what is to be kept; then all else is deleted there."""
        if self._task is not None and self._task.done():
            self._task.result()
        with self._lock:
            self._keep, self._pending = keep, (self._pending | {folder}) & keep
        if self._task is None or self._task.running() or self._task.done():  # else one is about to begin
            self._task = self._thread.submit(self._send)

    def settle(self) -> None:
        """Wait until all is sent that can be."""
        if self._task is not None:
            self._task.result()

    def _send(self) -> None:
        try:
            while folder := self._next():
                self._remote.put(folder, last=self._last)
            self._remote.keep({folder.name for folder in self._keep})
            self._failed = False
        except OSError as fault:
            if not self._failed:
                self._note(f"checkpoint not uploaded, it stays in {self.under_way}: {fault}")
            self._failed = True
            with self._lock:
                self._pending |= {folder for folder in self._keep if folder == self.under_way}
        finally:
            self.under_way = None

    def _next(self) -> Path | None:
        with self._lock:
            self.under_way = max(self._pending, default=None)
            self._pending -= {self.under_way}
            return self.under_way
