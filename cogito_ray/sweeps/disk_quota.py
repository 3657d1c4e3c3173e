"""Which checkpoints of a whole sweep go when they are too many bytes. Pure.

What can still be needed stays, whatever the quota: the newest checkpoint of every trial that is not over, and of the
best ones, and those that a copy may have to go on from.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum


class Worth(IntEnum):
    """Of a trial's checkpoints, least first."""

    FAILED = 0
    STOPPED = 1
    BEATEN = 2
    """Completed, but others are better; also the further runs of finalists."""
    NEEDED = 3
    """The best, and all that are not over: their newest one stays."""


@dataclass(frozen=True)
class RetentionPriority:
    """How long a trial's checkpoints are kept when `budget.disk` is short."""

    worth: Worth
    place: int = 0
    """Among equals in worth, the larger goes first."""


@dataclass(frozen=True)
class Stored:
    """A checkpoint on disk."""

    trial: str
    step: int
    size: int
    """Bytes."""


def pruned(
    stored: Sequence[Stored],
    standing: Mapping[str, RetentionPriority],
    quota: float,
    *,
    sources: Collection[tuple[str, int]] = (),
) -> list[Stored]:
    """Those to delete, in that order, until the rest is at most `quota` bytes or all of it is needed.

    `sources`: (trial, step) of those that a copy may have to go on from.
    """
    newest: dict[str, int] = {}
    for one in stored:
        newest[one.trial] = max(one.step, newest.get(one.trial, -1))

    def order(one: Stored) -> tuple[Worth, int, int]:
        return standing[one.trial].worth, -standing[one.trial].place, one.step

    needed = {one for one in stored if standing[one.trial].worth is Worth.NEEDED and one.step == newest[one.trial]}
    needed |= {one for one in stored if (one.trial, one.step) in sources}
    over, found = sum(one.size for one in stored) - quota, list[Stored]()
    for one in sorted(set(stored) - needed, key=order):
        if over > 0:
            found.append(one)
            over -= one.size
    return found


def least(checkpoint: int, *, at_once: int, trials: int, held: int) -> int:
    """Bytes that a quota must hold where each checkpoint takes so many: the newest one of every trial under way, that
    of the best one so far, and those `held` for trials that wait or are to be copied."""
    return checkpoint * (min(at_once + 1, trials) + held)
