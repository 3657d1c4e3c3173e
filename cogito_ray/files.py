"""Files that are whole or not there, also in a folder that several users share.

The draft's name is random and must be new, so that nobody can have put a link there; a link in the place of the file
itself is replaced, not followed. Modes follow the umask.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


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
