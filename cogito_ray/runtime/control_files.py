"""Files, or flags of Ray's, by which a sweep and the processes of its trials tell each other what to do."""

from pathlib import Path

from ray.experimental import internal_kv

from cogito_ray.atomic_files import atomic_write_text
from cogito_ray.object_storage.storage_mirror import mirror_of

PAUSED = "paused"
"""File of a trial that is to wait, until it goes on."""
STALLED = "stalled.txt"
"""A line for each time a worker of the run stood still, until the record has them."""
STARVED = "out_of_memory.txt"
"""Of a run with several workers: the step at which one ran out of memory, and how. They are not to train again."""
PREEMPT = "preempt"
"""A file among the trials: while it exists, each leaves a checkpoint after its next report, and ends."""


NAMESPACE = b"cogito-ray"
"""Of flags in the cluster's own table, which all its machines ask."""


def raise_flag(flag: Path, why: str = "") -> None:
    """Tell a sweep's processes: by a file, or by Ray where machines share no folder."""
    if mirror_of(flag) is None:
        flag.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(flag, why)
    else:
        internal_kv._internal_kv_put(str(flag), why, namespace=NAMESPACE)


def lower_flag(flag: Path) -> None:
    """It holds no longer, if it did."""
    if mirror_of(flag) is None:
        flag.unlink(missing_ok=True)
    else:
        internal_kv._internal_kv_del(str(flag), namespace=NAMESPACE)


def is_raised(flag: Path) -> bool:
    """Does it hold?"""
    return flag.exists() if mirror_of(flag) is None else internal_kv._internal_kv_exists(str(flag), namespace=NAMESPACE)


def stalls(folder: Path) -> list[str]:
    """Why workers of the run in `folder` ended themselves since its last report."""
    path = folder / STALLED
    return path.read_text().splitlines() if path.exists() else []
