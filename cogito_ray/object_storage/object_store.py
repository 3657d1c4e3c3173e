"""Objects below a URL, by fsspec: whole or not there, tried again while the store cannot be reached.

All that is promised rests on one thing that S3, Google Cloud Storage and Azure give: to create an object only where
there is none of its name, of several who try it at once to exactly one.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, TypeVar

PATIENCE_S = 300.0
"""A store may be out of reach for so long before what needs it fails."""
LONGEST_PAUSE_S = 5.0
T = TypeVar("T")


@dataclass(frozen=True)
class Backend:
    """A library by which fsspec reaches a kind of store."""

    package: str
    raises: tuple[str, ...]
    """What it raises besides OSError where the store cannot be reached."""
    options: dict[str, Any] = field(default_factory=dict)


_S3 = Backend("s3fs", ("botocore.exceptions:BotoCoreError",), {"config_kwargs": {"retries": {"total_max_attempts": 2}}})
_GCS = Backend("gcsfs", ("gcsfs.retry:HttpError", "aiohttp:ClientError"))
_AZURE = Backend("adlfs", ("azure.core.exceptions:AzureError",))
BACKENDS = {"s3": _S3, "gs": _GCS, "gcs": _GCS, "abfs": _AZURE, "abfss": _AZURE}


@dataclass(frozen=True)
class ObjectStore:
    """Objects, by their names below `url`. Everything raises OSError once the store was out of reach for `patience_s`,
    and at once where it refuses."""

    url: str
    patience_s: float = PATIENCE_S

    def create(self, name: str, content: bytes) -> bool:
        """Does an object of this name hold `content` now? Not where there was one of another content."""
        try:
            self._tried(lambda: self._system.pipe_file(self._path(name), content, mode="create"))
        except FileExistsError:    # perhaps by us: an answer may be lost on its way
            return self.read(name) == content
        return True

    def write(self, name: str, content: bytes) -> None:
        """In place of what is there."""
        self._tried(lambda: self._system.pipe_file(self._path(name), content))

    def read(self, name: str) -> bytes:
        """FileNotFoundError where there is none."""
        return bytes(self._tried(lambda: self._system.cat_file(self._path(name))))

    def exists(self, name: str) -> bool:
        """Is there an object of this name?"""
        return name in self.sizes(name)

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of every object below `folder`, or of the one of that name."""
        found = self._tried(lambda: self._system.find(self._path(folder), detail=True))
        files = {path: info for path, info in found.items() if info["type"] == "file"}
        return {path.removeprefix(self._path("")): int(info["size"]) for path, info in files.items()}

    def folders(self) -> list[str]:
        """Names at the top, but for those of objects."""
        try:
            found = self._tried(lambda: self._system.ls(self._path("").rstrip("/"), detail=True))
        except FileNotFoundError:
            return []
        names = [info["name"].rstrip("/").rpartition("/")[2] for info in found if info["type"] == "directory"]
        return sorted(names)

    def upload(self, file: Path, name: str) -> None:
        """In place of what is there."""
        self._tried(lambda: self._system.put_file(str(file), self._path(name)))

    def download(self, name: str, file: Path) -> None:
        """Whole, or not at all."""
        draft = file.with_name(f".{file.name}.draft")
        self._tried(lambda: self._system.get_file(self._path(name), str(draft)))
        draft.replace(file)

    def remove(self, name: str) -> None:
        """Nothing where there is none."""
        with suppress(FileNotFoundError):
            self._tried(lambda: self._system.rm_file(self._path(name)))

    def _path(self, name: str) -> str:
        return f"{self._opened[1].rstrip('/')}/{name}"

    @property
    def _system(self) -> Any:
        return self._opened[0]

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        import fsspec

        try:
            system, path = fsspec.core.url_to_fs(self.url, use_listings_cache=False, **self._backend.options)
        except ImportError:
            package = self._backend.package
            raise ValueError(f"{self.url}: needs {package}, which is not installed; pip install {package}") from None
        system.retries = 1    # of s3fs and gcsfs: what fails is tried again here
        return system, str(path)

    @cached_property
    def _backend(self) -> Backend:
        scheme = self.url.partition("://")[0]
        if scheme not in BACKENDS:
            raise ValueError(f"{self.url}: no storage that a driver could hold alone; use {', '.join(BACKENDS)}")
        return BACKENDS[scheme]

    @cached_property
    def _unreached(self) -> tuple[type[Exception], ...]:
        raises = self._backend.raises    # faults of the URL itself come before those of a missing package
        return (OSError, *(resolve_name(name) for name in raises if self._opened))

    def _tried(self, call: Callable[[], T]) -> T:
        unreached, began, pause = self._unreached, time.monotonic(), 0.1
        while True:
            try:
                return call()
            except (FileNotFoundError, FileExistsError, PermissionError):
                raise
            except unreached as fault:
                if time.monotonic() - began > self.patience_s:
                    said = f"could not be reached for {self.patience_s:g} s: {fault}"
                    raise ConnectionError(f"{self.url}: {said}; give the same command again once it can") from fault
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
