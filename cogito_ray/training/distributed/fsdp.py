"""Workers that hold a share of every weight each (FSDP2). A module of its own: its imports take seconds, and most runs
do without.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from accelerate import Accelerator
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_norm_

from cogito_ray.losses.total_loss import Losses, TotalLoss
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.training.checkpoints.checkpoint_store import Snapshot, State
from cogito_ray.training.optimizer import OptimizerSpec, own_settings, skip_if_not_finite


class FsdpStrategy:
    """A share of every weight, gradient and moment each (fully sharded data parallel, arXiv:2304.11277): blocks are
    gathered when their turn comes. Checkpoints and evaluation gather the whole on the first worker."""

    _GATHER = StateDictOptions(full_state_dict=True, cpu_offload=True)

    def __init__(self, accelerator: Accelerator, total: TotalLoss, optimizer: OptimizerSpec):
        self._accelerator, self._clip = accelerator, optimizer.clip
        total.to(accelerator.device)
        self._copy = copy.deepcopy(total) if accelerator.is_main_process else total
        mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
        for block in total.model.encoder.blocks:
            fully_shard(block, mesh=mesh)
        self._module: FSDPModule = fully_shard(total, mesh=mesh)
        self._total, self.optimizer = total, optimizer.build(total)

    @contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        """Around one micro-batch of this worker; gradients are reduced and scattered after the `last` of a step."""
        self._module.set_requires_gradient_sync(last)
        yield

    def forward(self, view: View, other: View | None, divisors: Tensor) -> Losses:
        """TotalLoss of this worker's micro-batch, whose blocks are gathered on the way."""
        with self._accelerator.autocast():
            losses: Losses = self._total(view, other, divisors)
        return losses

    def step(self, *, last: bool) -> Tensor | None:
        """Within `micro_batch`: the optimizer's step, after the last one -> norm of the gradient before clipping."""
        if not last:
            return None
        norm = clip_grad_norm_(self._total.parameters(), self._clip)
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        skip_if_not_finite(self.optimizer, norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return norm

    def full_model(self) -> TotalLoss:
        """What the first worker may evaluate: a copy, into which all shards are gathered. All workers call it."""
        weights, _ = get_state_dict(self._total, (), options=self._GATHER)
        if self._accelerator.is_main_process:
            self._copy.load_state_dict(weights)
        return self._copy

    def snapshot(self, state: State) -> Snapshot | None:
        """On the first worker, gathered from all. All workers call it."""
        named, optimizer = get_state_dict(self._total, self.optimizer, options=self._GATHER)
        weights = {name: weight for name, weight in named.items() if isinstance(weight, Tensor)}
        return Snapshot.copied(state, weights, optimizer) if self._accelerator.is_main_process else None

    def load(self, snapshot: Snapshot) -> None:
        """Go on from a checkpoint: each worker keeps its shard of it."""
        with own_settings(self.optimizer):
            set_state_dict(
                self._total,
                self.optimizer,
                model_state_dict=dict(snapshot.weights),
                optim_state_dict=snapshot.optimizer,
                options=StateDictOptions(full_state_dict=True),
            )
