"""Makes what the next step needs while this one is computed: on a thread, one step ahead, in order.

Rows are read, named and corrupted there, on the CPU, and pinned, so that training never waits for a copy to its device.
"""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from cogito_ray.objectives.corrupted_view import View
from cogito_ray.run_spec import RunSpec
from cogito_ray.text.vocabulary_info import Vocabulary
from cogito_ray.training.row_fingerprint import hash_rows

T = TypeVar("T")
Passes = list[tuple[View, View | None]]


def one_ahead(make: Callable[[int], T], steps: range) -> Generator[T]:
    """`make` of each of `steps`. What it raises is raised where that step's is asked for; closing waits for it."""
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as thread:
        pending = [thread.submit(make, step) for step in steps[:1]]
        for step in steps[1:]:
            made = pending.pop().result()
            pending.append(thread.submit(make, step))
            yield made
        yield from (last.result() for last in pending)


@dataclass(frozen=True)
class StepViews:
    """One worker's share of each step of a run."""

    run: RunSpec
    vocabulary: Vocabulary
    batches: Iterator[Tensor]
    """Its micro-batches (micro_batch, N) int64 on the CPU, those of the first step that is asked for first."""
    places: range
    """Of its micro-batches in the whole batch."""
    pinned: bool
    """Will the views be copied to a device?"""

    def make(self, step: int) -> tuple[int, Passes]:
        """The sum of its rows' hashes (see `training.row_fingerprint`), and what each forward pass reads."""
        rows, passes = 0, Passes()
        for index in self.places:
            ids = next(self.batches)
            rows += hash_rows(ids, first=(step - 1) * self.run.training.batch + index * self.run.micro_batch)
            generator = torch.Generator().manual_seed(seed_of(self.run, step, index))
            view, other = self.run.views(ids, self.vocabulary, generator)
            passes.append((view.pinned(), other and other.pinned()) if self.pinned else (view, other))
        return rows, passes


def seed_of(run: RunSpec, step: int, index: int) -> int:
    """Of the micro-batch at place `index` of the whole batch, whichever worker has it."""
    return int(np.random.SeedSequence((run.seed, step, index)).generate_state(1, np.uint64)[0] >> 1)
