"""A folder on this machine that stands for a storage in an object store: what is written there is uploaded, what is
missing fetched.

The folder names its URL, so that every process that is given a path below it finds the store. It may be deleted at any
time when nothing works there: all that was acknowledged is in the store.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from cogito_ray.atomic_files import atomic_write_text
from cogito_ray.object_storage.object_store import ObjectStore
from cogito_ray.records.file_locks import hold

DRAFT = ".draft"
"""Ends the names of files that are not whole yet."""
MARKER = ".object-storage"
"""File at the top of a mirror, which says its URL."""
ROOT = "cogito-ray-storage"
"""Object at the top of a storage."""
CACHE = "COGITO_STORAGE_CACHE"
"""Environment variable: the folder of all mirrors, by default ~/.cache/cogito-ray. The driver's holds for all machines
of its cluster."""
URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(.+)")
"""A URL, also once it was taken for a path, which has a single slash."""
AT_ONCE = 16
"""Transfers."""
FETCHED_WITHIN_S = 3600.0
"""By another process of this machine."""
LOOKED_FOR_S = 20.0
"""When a URL is first used: a wrong one is told soon."""
T = TypeVar("T")


@dataclass(frozen=True)
class Mirror:
    """Of the storage at `url`."""

    root: Path
    url: str

    @cached_property
    def store(self) -> ObjectStore:
        """Where everything is."""
        return ObjectStore(self.url)

    def name_of(self, path: Path) -> str:
        """Of the object for this path."""
        return path.absolute().relative_to(self.root).as_posix()

    def begin(self) -> None:
        """Before the first write of a driver. ValueError where the store would let two of them write the same."""
        if not self.store.create(ROOT, b"{}\n") or self.store.create(ROOT, b"{} \n"):
            raise ValueError(
                f"{self.url}: this store overwrites an object that was to be created only where there is none, so a "
                "second driver could not be kept out; use a newer version of it, or another one"
            )

    def upload(self, path: Path, *, last: str = "") -> None:
        """A file, or what a folder holds that is not there yet, its file `last` after all others."""
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        files = [file for file in files if file.suffix != DRAFT]
        there = self.store.sizes(self.name_of(path)) if path.is_dir() else {}
        due = [file for file in files if there.get(self.name_of(file)) != file.stat().st_size]
        _at_once(self._put, [file for file in due if file.name != last])
        _at_once(self._put, [file for file in files if file.name == last])

    def _put(self, file: Path) -> None:
        self.store.upload(file, self.name_of(file))

    def download(self, path: Path, *, last: str = "") -> None:
        """A file, or a folder once its file `last` is there, which comes after all others. Nothing where it is not."""
        name = self.name_of(path)
        there = self.store.sizes(name)
        if name in there or not last or f"{name}/{last}" in there:
            _at_once(self._get, [one for one in there if one != f"{name}/{last}"])
            _at_once(self._get, [one for one in there if one == f"{name}/{last}"])

    def _get(self, name: str) -> None:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        self.store.download(name, file)


def _at_once(transfer: Callable[[T], None], items: Iterable[T]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(transfer, items))    # raises what one of them raised


@lru_cache
def _mirror(root: Path, url: str) -> Mirror:
    return Mirror(root, url)


def mirror_of(path: Path) -> Mirror | None:
    """The mirror that this path lies in; None for a plain folder."""
    for folder in (whole := path.absolute(), *whole.parents):
        if os.path.isdir(folder):           # no OSError of a path that cannot be used: who uses it tells of that
            with contextlib.suppress(FileNotFoundError, PermissionError):
                return _mirror(folder, (folder / MARKER).read_text())
    return None


def url_of(path: Path) -> str | None:
    """Of the storage that this path mirrors; None for a plain folder."""
    mirror = mirror_of(path)
    return mirror.url if mirror else None


def join(root: Path, url: str | None) -> None:
    """Make `root` the mirror of `url` on this machine, too; a plain folder where it is None."""
    if url is not None and mirror_of(root) is None:
        root.mkdir(parents=True, exist_ok=True)
        atomic_write_text(root / MARKER, url)


def local(given: str | Path) -> Path:
    """The path on this machine for a path or URL. OSError where the URL's store cannot be reached."""
    found = URL.fullmatch(str(given))
    if found is None:
        return Path(given)
    if found[1] == "file":
        return Path("/", found[2])
    storage, below = _split(f"{found[1]}://{found[2].strip('/')}")
    folder = Path(os.environ.get(CACHE) or Path.home() / ".cache" / "cogito-ray").absolute()
    join(root := folder / sha256(storage.encode()).hexdigest()[:16], storage)
    return root / below


def _split(url: str) -> tuple[str, str]:
    """(storage, what is below it): the storage is what a driver began, else this URL."""
    scheme, _, path = url.partition("://")
    parts = path.split("/")
    for length in range(len(parts), 0, -1):
        storage = f"{scheme}://{'/'.join(parts[:length])}"
        if ObjectStore(storage, LOOKED_FOR_S).exists(ROOT):
            return storage, "/".join(parts[length:])
    return url, ""


def fetch(path: Path, *, last: str = "") -> None:
    """Bring a file, or a folder with its file `last`, from the storage where it is not on this machine."""
    mirror, sign = mirror_of(path), path / last if last else path
    if mirror is not None and not sign.exists():
        with hold(mirror.root / f".{sha256(str(path).encode()).hexdigest()[:16]}.lock", patience_s=FETCHED_WITHIN_S):
            if not sign.exists():
                mirror.download(path, last=last)


def upload(path: Path, *, last: str = "") -> None:
    """Into the storage, where it is an object store and the path is there."""
    if (mirror := mirror_of(path)) is not None and path.exists():
        mirror.upload(path, last=last)
