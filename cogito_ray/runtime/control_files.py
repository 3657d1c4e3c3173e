"""Files by which a sweep and the processes of its trials tell each other what to do, and what became of it."""

from pathlib import Path

PAUSED = "paused"
"""File of a trial that is to wait, until it goes on."""
STALLED = "stalled.txt"
"""A line for each time a worker of the run stood still, until the record has them."""
PREEMPT = "preempt"
"""A file among the trials: while it exists, each leaves a checkpoint after its next report, and ends."""


def stalls(folder: Path) -> list[str]:
    """Why workers of the run in `folder` ended themselves since its last report."""
    path = folder / STALLED
    return path.read_text().splitlines() if path.exists() else []
