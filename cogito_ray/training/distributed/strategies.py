"""Distributed strategies: how the workers of a run hold its model, a whole copy each (DDP) or a shard of every weight
each (FSDP).

Both take the same steps; which one is a matter of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate import Accelerator
from torch import Tensor

from cogito_ray.losses.total_loss import Losses, TotalLoss
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.training.checkpoints.checkpoint_store import Restored, Snapshot, State
from cogito_ray.training.optimizer import OptimizerSpec, own_settings, skip_if_not_finite

if TYPE_CHECKING:
    from cogito_ray.training.distributed.fsdp import FsdpStrategy


class DdpStrategy:
    """A whole copy each; gradients are averaged (DistributedDataParallel, arXiv:2006.15704)."""

    def __init__(self, accelerator: Accelerator, total: TotalLoss, optimizer: OptimizerSpec):
        self._accelerator, self._total, self._clip = accelerator, total, optimizer.clip
        self._module, self.optimizer = accelerator.prepare(total, optimizer.build(total))

    @contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        """Around one micro-batch of this worker; after the `last` of a step, workers average their gradients."""
        with self._accelerator.accumulate(self._module):
            yield

    def forward(self, view: View, other: View | None, divisors: Tensor) -> Losses:
        """TotalLoss of this worker's micro-batch."""
        losses: Losses = self._module(view, other, divisors)
        return losses

    def step(self, *, last: bool) -> Tensor | None:
        """Within `micro_batch`: the optimizer's step, after the last one -> norm of the gradient before clipping."""
        norm = self._accelerator.clip_grad_norm_(self._module.parameters(), self._clip) if last else None
        if norm is not None:
            skip_if_not_finite(self.optimizer.optimizer, norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return norm

    def full_model(self) -> TotalLoss:
        """What the first worker may evaluate. All workers call it."""
        return self._total

    def snapshot(self, state: State) -> Snapshot | None:
        """On the first worker. All workers call it."""
        optimizer = self.optimizer.optimizer
        return Snapshot.of(state, self._total, optimizer) if self._accelerator.is_main_process else None

    def read(self, folder: Path, state: State) -> Restored:
        """The whole of a checkpoint."""
        found = Snapshot.read(folder, state)
        return Restored(state, lambda: self._load(found))

    def _load(self, snapshot: Snapshot) -> None:
        with own_settings(self.optimizer.optimizer):
            snapshot.load(self._total, self.optimizer.optimizer)


def _fsdp(accelerator: Accelerator, total: TotalLoss, optimizer: OptimizerSpec) -> FsdpStrategy:
    from cogito_ray.training.distributed.fsdp import FsdpStrategy  # seconds, which most trials need not pay

    return FsdpStrategy(accelerator, total, optimizer)


STRATEGIES: dict[str, Callable[[Accelerator, TotalLoss, OptimizerSpec], DdpStrategy | FsdpStrategy]] = {
    "ddp": DdpStrategy,
    "fsdp": _fsdp,
}
"""How each kind holds a model on an accelerator's device."""
