"""Files that are whole or not there, also in a folder that several users share.

The draft's name is random and must be new, so that nobody can have put a link there; a link in the place of the file
itself is replaced, not followed. Modes follow the umask.
"""

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

WAYS_OUT = {
    errno.ENOENT: "look whether the path is right",
    errno.ENOTDIR: "a part of this path is a file; give a folder",
    errno.EEXIST: "this is no folder; give another path, or move it away",
    errno.EISDIR: "this is a folder where a file is wanted; give another path, or move it away",
    errno.ELOOP: "this is a symbolic link, through which nothing is written; put the file itself there",
    errno.EACCES: "ask its owner for permission, or give another folder",
    errno.EPERM: "ask its owner for permission, or give another folder",
    errno.EROFS: "give a folder on another filesystem",
    errno.ENOSPC: "free some space there, then give the same command again",
    errno.EDQUOT: "free some of your quota there, then give the same command again",
    errno.EFBIG: "no file may grow so large there; give a folder on another filesystem, or raise `ulimit -f`",
}
"""What helps against an error of the system."""


def explain_os_error(fault: OSError) -> str:
    """Its place, what is wrong there, and a way out, as far as they are known."""
    if fault.errno is None or fault.filename is None:
        return str(fault)
    way_out = f"; {WAYS_OUT[fault.errno]}" if fault.errno in WAYS_OUT else ""
    return f"{fault.filename}: {fault.strerror}{way_out}"


@contextmanager
def atomic_write(file: Path) -> Iterator[BinaryIO]:
    """A stream, to read and write, whose content becomes `file` when the block ends. Where it fails, nothing is left.

    OSError names the file, also where the disk is full.
    """
    draft = file.with_name(f".{secrets.token_hex(8)}.draft")
    try:
        with naming(file, instead_of=draft), draft.open("x+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def atomic_write_text(file: Path, content: str) -> Path:
    """`content` in UTF-8, as the whole of `file`; errors as in `atomic_write`."""
    with atomic_write(file) as stream:
        stream.write(content.encode())
    return file


def open_to_append(file: Path) -> int:
    """A descriptor to read and append, of a file that is made if need be. OSError where it is a link."""
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)


@contextmanager
def naming(file: Path, instead_of: Path | None = None) -> Iterator[None]:
    """OSErrors that name no file, as those of writing to an open one, or this other one, name `file`."""
    try:
        yield
    except OSError as fault:
        if fault.errno is None or fault.filename not in (None, str(instead_of)):
            raise
        raise OSError(fault.errno, fault.strerror, str(file)) from fault


def write_json(path: Path, content: object) -> None:
    """Whole or not there, like the others."""
    atomic_write_text(path, json.dumps(content, indent=1))
