"""One way to list and open files, whether local or behind any URL that pyarrow or fsspec understands."""

import lzma
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from io import BufferedReader, BytesIO
from pathlib import PurePosixPath
from typing import IO, Any, cast

import fsspec
import pyarrow as pa
import pyarrow.fs
from fsspec.implementations.arrow import ArrowFSWrapper
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

GLOB = frozenset("*?[")
CHANGES = ("mtime", "LastModified", "last_modified", "updated", "ETag", "etag", "sha256")
"""Names under which file systems say when, or to what, a file last changed."""
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd", ".zstd": "zstd", ".lz4": "lz4"}
EXPANSION = 4
"""Bytes of text per byte of a compressed file, roughly."""
MEASURED = 2**20
"""Bytes of a compressed file by which its expansion is measured."""
PASSED = 2**16
"""Bytes read at a time of what is not looked at."""
HEAD = 64
"""Bytes by which the encoding of a file is told."""
UNREADABLE = (OSError, EOFError, lzma.LZMAError, pa.ArrowException)
"""What reading a file raises where it is torn, or not what its name says."""


@dataclass(frozen=True, slots=True)
class File:
    """A file on some file system, with what is known of it without reading it."""

    root: str
    """The path or URL the user gave: says which file system this is."""
    path: str
    """The file's own path there."""
    size: int
    changed: str

    def open(self) -> IO[bytes]:
        """To be read, decompressed if its name says that it is compressed. UNREADABLE where that fails."""
        stored = self._stored()
        return self._decompressed(stored) if self.compression else stored

    def open_text(self) -> IO[bytes]:
        """Likewise; OSError, too, where the text is in UTF-16."""
        stream = self.open()
        if isinstance(stream, BufferedReader):  # what is decompressed cannot be sought in
            head = stream.peek(HEAD)[:HEAD]
        else:
            head = stream.read(HEAD)
            stream.seek(0)
        if head.startswith((b"\xff\xfe", b"\xfe\xff")) or 4 * head.count(0) > len(head):
            raise OSError("UTF-16, not UTF-8; convert it, as with iconv -f UTF-16 -t UTF-8")
        return stream

    def measured_size(self) -> int:
        """Bytes of a compressed file when it is decompressed, by what its first mebibyte gives: rounded up to half of
        its size, so that another version of a library finds the same."""
        read = found = 0
        with suppress(*UNREADABLE):     # what is read breaks off
            with self._stored() as stored:
                head = stored.read(MEASURED)
            read, stream = len(head), self._decompressed(BytesIO(head))
            while chunk := stream.read(PASSED):
                found += len(chunk)
        return max(self.size, -(-2 * found // max(read, 1)) * self.size // 2)

    def _stored(self) -> IO[bytes]:
        system, _ = _resolve(self.root)
        return cast(IO[bytes], system.open(self.path, "rb"))

    def _decompressed(self, stored: IO[bytes]) -> IO[bytes]:
        if self.compression == "xz":  # which pyarrow does not know
            return cast(IO[bytes], lzma.open(stored))
        return cast(IO[bytes], BufferedReader(pa.CompressedInputStream(stored, self.compression)))

    @property
    def expanded_size(self) -> int:
        """Bytes when it is decompressed, estimated."""
        return self.size * (EXPANSION if self.compression else 1)

    @property
    def compression(self) -> str | None:
        """By its last ending."""
        return COMPRESSIONS.get(PurePosixPath(self.path).suffix.lower())

    @property
    def ending(self) -> str:
        """The one that says the format, in lower case: .jsonl of a.jsonl and of a.jsonl.gz; empty where there is
        none."""
        suffixes = [suffix.lower() for suffix in PurePosixPath(self.path).suffixes[-2:]]
        return next((suffix for suffix in reversed(suffixes) if suffix not in COMPRESSIONS), "")


def skip(stream: IO[bytes], count: int) -> None:
    """Passes over the first bytes of a stream, reading them where it cannot be sought in."""
    if stream.seekable():
        stream.seek(count)
        return
    while count and (read := len(stream.read(min(count, PASSED)))):
        count -= read


def list_files(root: str) -> list[File]:
    """The files `root` stands for (a file, a folder, a glob), by name; hidden ones left out. OSError if unreachable.

    Symbolic links are followed, as in a cache of the Hugging Face hub. What exists is meant literally: brackets in the
    name of a folder are no glob.
    """
    system, _ = _resolve(root)
    base, pattern = _base(root)
    found = _below(system, base, pattern) if pattern or system.isdir(base) else {base: system.info(base)}
    matches = re.compile(glob_translate(pattern)).fullmatch if pattern else lambda _: True
    return [
        File(root, name, int(info["size"] or 0), str([info[key] for key in CHANGES if key in info]))
        for name, info in sorted(found.items())
        if info["type"] == "file" and matches(_relative(name, base)) and not _is_hidden(_relative(name, base))
    ]


def fingerprints_of(files: Sequence[File]) -> dict[str, dict[str, object]]:
    """What can be told of each file without reading it."""
    return {relative(file): {"bytes": file.size, "changed": file.changed} for file in files}


def relative(file: File) -> str:
    """The file's name below what the user gave: the same wherever that folder lies."""
    return _relative(file.path, _base(file.root)[0])


def _below(system: fsspec.AbstractFileSystem, base: str, pattern: str) -> dict[str, dict[str, Any]]:
    """Every file below a folder with what is known of it, as deep as a pattern may reach."""
    if isinstance(system, LocalFileSystem):
        return {name: system.info(name) for name in _walk(base)}
    depth = pattern.count("/") + 1 if pattern and "**" not in pattern else None
    return dict(system.find(base, maxdepth=depth, detail=True))


def _walk(base: str) -> Iterator[str]:
    """Files below a local folder, links followed; a folder that several links lead to is read once."""
    seen = {os.path.realpath(base)}
    for folder, folders, files in os.walk(base, followlinks=True):
        to_read = {}
        for name in sorted(folders, reverse=True):
            to_read[os.path.realpath(os.path.join(folder, name))] = name        # of links to one folder the first
        folders[:] = sorted(name for real, name in to_read.items() if real not in seen and not _is_hidden(name))
        seen.update(to_read)
        yield from (path for name in files if os.path.isfile(path := os.path.join(folder, name)))


def _relative(name: str, base: str) -> str:
    return name.removeprefix(base).lstrip("/") or PurePosixPath(name).name


def _is_hidden(path: str) -> bool:
    return any(part.startswith((".", "_")) for part in PurePosixPath(path).parts)


@lru_cache
def _base(root: str) -> tuple[str, str]:
    """What `root` names literally, and the glob below it, which may be empty."""
    system, path = _resolve(root)
    base, pattern = path, ""
    while GLOB & set(base) and not system.exists(base):
        base, _, last = base.rpartition("/")
        pattern = f"{last}/{pattern}" if pattern else last
    return base, pattern


@lru_cache
def _resolve(root: str) -> tuple[fsspec.AbstractFileSystem, str]:
    if "://" in root and "::" not in root and not root.startswith("file:"):
        try:
            system, path = pa.fs.FileSystem.from_uri(root)
        except pa.ArrowInvalid:  # a scheme that only fsspec knows
            pass
        else:
            return ArrowFSWrapper(system), path
    system, path = fsspec.core.url_to_fs(root)
    return system, path
