"""What a checkpoint's folder holds, and the manifest of hashes by which a torn or altered file is found.

SHA-256 reads about 1.5 GB a second on one core, so that whoever opens a checkpoint can afford to ask.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

MANIFEST, WEIGHTS, OPTIMIZER, STATE = "manifest.json", "model.safetensors", "optimizer.pt", "state.json"
SHARDS = ".metadata"
"""Where each worker wrote its own shards of weights and optimizer, this says what stands in which of their files,
__0_0.distcp, __1_0.distcp and so on."""
POLL_S, SLOWEST_POLL_S = 0.25, 5.0
_HASHES = TypeAdapter(dict[str, str])
T = TypeVar("T")


class BadCheckpoint(ValueError):
    """A checkpoint that cannot be used: torn, altered, or of another run."""


def verify(folder: Path, files: Iterable[str] | None = None) -> dict[str, str]:
    """The hash of each file of a checkpoint, once those of `files` were found to hold; None = of all.

    BadCheckpoint names the file and says how to go on.
    """
    hashes = recorded(folder)
    for name in hashes if files is None else files:
        path = folder / name
        if not path.is_file():
            raise BadCheckpoint(f"{path}: missing; {_way_out(folder)}")
        if (found := sha256(path)) != hashes[name]:
            raise BadCheckpoint(
                f"{path}: altered (sha256 {found[:12]}, the manifest says {hashes[name][:12]}); {_way_out(folder)}"
            )
    return hashes


def recorded(folder: Path) -> dict[str, str]:
    """What the manifest says of each file, unasked. BadCheckpoint where it is no checkpoint's."""
    try:
        hashes = _HASHES.validate_json((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError) as fault:
        raise BadCheckpoint(
            f"{folder / MANIFEST}: missing or torn, so the checkpoint was not finished; {_way_out(folder)}"
        ) from fault
    if absent := {WEIGHTS, STATE, SHARDS if SHARDS in hashes else OPTIMIZER} - hashes.keys():
        raise BadCheckpoint(f"{folder / MANIFEST}: says nothing of {', '.join(sorted(absent))}; {_way_out(folder)}")
    return hashes


def retry_within(read: Callable[[], T], within_s: float) -> T:
    """What `read` gives, tried again for so many seconds while another machine's files are not seen here, or not whole.

    Raises what it raised last.
    """
    began, pause = time.monotonic(), POLL_S
    while True:
        try:
            return read()
        except (BadCheckpoint, OSError):
            left = began + within_s - time.monotonic()
            if left <= 0:
                raise
        time.sleep(min(pause, left))
        pause = min(2 * pause, SLOWEST_POLL_S)


def seal(folder: Path) -> None:
    """Write the manifest of hashes, and everything to disk, before the folder gets its final name."""
    hashes = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(json.dumps(hashes, indent=1))
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _way_out(folder: Path) -> str:
    return f"name another checkpoint, or delete {folder.name} and use the one before"
