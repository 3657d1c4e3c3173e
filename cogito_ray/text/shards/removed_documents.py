"""Which documents of a source cleaning has left out: a file of their places beside the source's shards."""

from pathlib import Path

import numpy as np

from cogito_ray.atomic_files import atomic_write

REMOVED = "removed.npy"
Places = np.ndarray[tuple[int, ...], np.dtype[np.uint64]]


def place_of(part: int, document: int) -> int:
    """One number for the so-manyth readable document of a part; ascending in their order."""
    return part << 32 | document


def spelt(place: int) -> str:
    """For people."""
    part, document = divmod(place, 2**32)
    return f"part {part}, document {document}"


def write_removed(folder: Path, places: Places) -> None:
    """Places (R,), ascending, of a source's documents that are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / REMOVED) as stream:
        np.save(stream, places)


def removed_places(folder: Path) -> Places:
    """What `write_removed` wrote. FileNotFoundError where nothing is written of the source."""
    places: Places = np.load(folder / REMOVED, mmap_mode="r")      # a task reads its own part of it
    return places


def removed_from(folder: Path, part: int) -> frozenset[int]:
    """The documents of this part that are left out."""
    places = removed_places(folder)
    start, stop = np.searchsorted(places, np.array([place_of(part, 0), place_of(part + 1, 0)], np.uint64))
    return frozenset((places[start:stop] & np.uint64(2**32 - 1)).tolist())
