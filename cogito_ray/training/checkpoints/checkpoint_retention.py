"""Which checkpoints stay. A pure policy: the newest, the best, within so many bytes."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt

from cogito_ray.base_spec import Spec, Url, brief

SCHEMES = re.compile(r"(s3|gs|gcs|abfss?)://[^/]|(hdfs|viewfs|file|fsspec\+\w+)://.")


def _reachable(url: str) -> str:
    if not (SCHEMES.match(url) or PurePath(url).is_absolute()):
        raise ValueError(f"{brief(url)} is no URL; write s3://bucket/runs, gs://..., file:///... or a whole path")
    return url


class BestSpec(Spec):
    """By which metric a checkpoint is one of the best."""

    metric: str
    """One of those that are reported, for instance eval/reconstruction_nats."""
    mode: Literal["min", "max"] = "min"
    keep: PositiveInt = 1


class CheckpointsSpec(Spec):
    """Which checkpoints of a run stay, and where copies of them go."""

    keep: PositiveInt = 2
    """Newest ones that stay, so that there is one to go back to if the last is damaged."""
    best: BestSpec | None = None
    """Others that stay because they were the best at their report; null = none."""
    keep_bytes: PositiveInt | None = None
    """Together they are no larger than this: the oldest go first, the best after them, and the newest always stays."""
    milestone_every: PositiveInt | None = Field(default=None, exclude_if=lambda steps: steps is None)
    """A report at a multiple of so many steps leaves a checkpoint, whatever `checkpoint_every` says, and these stay
    besides the others, whatever their size; null = none."""
    upload: Annotated[Url, AfterValidator(_reachable)] | None = None
    """A folder of any filesystem that pyarrow or fsspec knows (s3://bucket/runs, gs://..., file:///...) to which each
    checkpoint is copied, and from which a run whose disk was lost goes on; null = none."""

    def is_milestone(self, step: int) -> bool:
        """Does a checkpoint of this step stay for good?"""
        return self.milestone_every is not None and step > 0 and step % self.milestone_every == 0


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint that exists."""

    step: int
    size: int
    """Bytes."""
    score: float | None
    """Of the metric that says which are the best."""


def retained(stored: Sequence[StoredCheckpoint], spec: CheckpointsSpec) -> list[StoredCheckpoint]:
    """Those that stay, newest first."""
    newest = sorted(stored, key=lambda one: -one.step)
    by_need = [*newest[:1], *_best(newest, spec.best), *newest[1 : spec.keep]]      # the last is spared least
    stay: dict[int, StoredCheckpoint] = {}
    for one in by_need:
        taken = sum(other.size for other in stay.values())
        if not stay or spec.keep_bytes is None or taken + one.size <= spec.keep_bytes:
            stay.setdefault(one.step, one)
    stay |= {one.step: one for one in newest if spec.is_milestone(one.step)}
    return sorted(stay.values(), key=lambda one: -one.step)


def _best(newest: Sequence[StoredCheckpoint], spec: BestSpec | None) -> list[StoredCheckpoint]:
    if spec is None:
        return []
    sign = {"min": 1, "max": -1}[spec.mode]
    scored = [(sign * one.score, one) for one in newest if one.score is not None and math.isfinite(one.score)]
    return [one for _, one in sorted(scored, key=lambda pair: pair[0])[: spec.keep]]
