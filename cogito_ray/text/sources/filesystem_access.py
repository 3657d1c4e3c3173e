"""One way to list and open files, whether local or behind any URL that pyarrow or fsspec understands."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BufferedReader
from pathlib import PurePosixPath
from typing import IO, cast

import fsspec
import pyarrow as pa
import pyarrow.fs
from fsspec.implementations.arrow import ArrowFSWrapper

GLOB = frozenset("*?[")
CHANGES = ("mtime", "LastModified", "last_modified", "updated", "ETag", "etag", "sha256")
"""Names under which file systems say when, or to what, a file last changed."""


@dataclass(frozen=True)
class File:
    """A file on some file system, with what is known of it without reading it."""

    root: str
    """The path or URL the user gave: says which file system this is."""
    path: str
    """The file's own path there."""
    size: int
    changed: str

    def open(self, compression: str | None = None) -> IO[bytes]:
        """To be read, decompressed. OSError where that fails."""
        system, _ = _resolve(self.root)
        stored = system.open(self.path, "rb")
        return cast(IO[bytes], BufferedReader(pa.CompressedInputStream(stored, compression)) if compression else stored)

    @property
    def suffixes(self) -> list[str]:
        """The last two, in lower case: .jsonl and .gz of a.jsonl.gz."""
        return [suffix.lower() for suffix in PurePosixPath(self.path).suffixes[-2:]]


def list_files(root: str) -> list[File]:
    """The files `root` stands for (a file, a folder, a glob), by name; hidden ones left out. OSError if unreachable."""
    system, path = _resolve(root)
    if GLOB & set(path):
        found = system.glob(path, detail=True)
    elif system.isdir(path):
        found = system.find(path, detail=True)
    else:
        found = {path: system.info(path)}
    return [
        File(root, name, int(info["size"] or 0), str([info[key] for key in CHANGES if key in info]))
        for name, info in sorted(found.items())
        if info["type"] == "file" and not _is_hidden(name, path)
    ]


def fingerprints_of(files: Sequence[File]) -> dict[str, dict[str, object]]:
    """What can be told of each file without reading it."""
    return {relative(file): {"bytes": file.size, "changed": file.changed} for file in files}


def relative(file: File) -> str:
    """The file's name below what the user gave: the same wherever that folder lies."""
    return _below(file.path, _resolve(file.root)[1])


def _below(name: str, root: str) -> str:
    fixed = re.split(r"[*?\[]", root)[0]
    folder = fixed if fixed == root else fixed.rpartition("/")[0]
    return name.removeprefix(folder).lstrip("/") or PurePosixPath(name).name


def _is_hidden(name: str, root: str) -> bool:
    return any(part.startswith((".", "_")) for part in PurePosixPath(_below(name, root)).parts)


@lru_cache
def _resolve(root: str) -> tuple[fsspec.AbstractFileSystem, str]:
    if "://" in root and "::" not in root:
        try:
            system, path = pa.fs.FileSystem.from_uri(root)
        except pa.ArrowInvalid:  # a scheme that only fsspec knows
            pass
        else:
            return ArrowFSWrapper(system), path
    system, path = fsspec.core.url_to_fs(root)
    return system, path
