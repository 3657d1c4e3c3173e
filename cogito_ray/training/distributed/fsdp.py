"""Workers that hold a share of every weight each (FSDP2), and of its checkpoints. A module of its own: its imports take
seconds, and most runs do without.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_norm_

from cogito_ray.losses.total_loss import Losses, TotalLoss
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.training.checkpoints.checkpoint_store import Restored, State
from cogito_ray.training.checkpoints.sharded_snapshot import ShardedSnapshot
from cogito_ray.training.optimizer import OptimizerSpec, own_settings, skip_if_not_finite


class FsdpStrategy:
    """A share of every weight, gradient and moment each (fully sharded data parallel, arXiv:2304.11277): layers are
    gathered when their turn comes, the rest (the token table, which both ends of the model read, and the head) for the
    whole of a pass. Evaluation gathers the whole on the first worker; checkpoints do not, each worker writes its own.
    """

    def __init__(self, accelerator: Accelerator, total: TotalLoss, optimizer: OptimizerSpec):
        self._accelerator, self._clip = accelerator, optimizer.clip
        total.to(accelerator.device)
        self._copy = copy.deepcopy(total) if accelerator.is_main_process else total
        self._module = _sharded(total, accelerator)
        self._writers = dist.new_group(backend="gloo")      # of their own: they write while training communicates
        self._total, self.optimizer = total, optimizer.build(total)

    @contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        """Around one micro-batch of this worker; gradients are reduced and scattered after the `last` of a step."""
        self._module.set_requires_gradient_sync(last)
        yield

    def forward(self, view: View, other: View | None, divisors: Tensor) -> Losses:
        """TotalLoss of this worker's micro-batch, whose layers are gathered on the way."""
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
        whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
        weights, _ = get_state_dict(self._total, (), options=whole)
        if self._accelerator.is_main_process:
            self._copy.load_state_dict(weights)
        return self._copy

    def snapshot(self, state: State) -> ShardedSnapshot:
        """This worker's shards."""
        weights, optimizer = get_state_dict(self._total, self.optimizer)
        return ShardedSnapshot.of(state, weights, optimizer, self._writers)

    def read(self, folder: Path, state: State) -> Restored:
        """This worker's shards of a checkpoint, however many workers wrote it. OSError where it does not hold them."""
        found = self.snapshot(state)
        found.fill(folder)
        return Restored(state, lambda: self._load(found))

    def _load(self, snapshot: ShardedSnapshot) -> None:
        with own_settings(self.optimizer):
            set_state_dict(
                self._total,
                self.optimizer,
                model_state_dict=snapshot.weights,
                optim_state_dict=snapshot.optimizer,
            )


def _sharded(total: TotalLoss, accelerator: Accelerator) -> FSDPModule:
    """Each layer is a unit. Weights are gathered in the precision in which autocast computes with them, so that half is
    sent; gradients are summed, and the few learned weights of the loss kept, in float32. On a CPU all is gathered in
    float32: there autocast leaves layer norms alone, which take no mixed types."""
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    half = accelerator.mixed_precision == "bf16" and accelerator.device.type != "cpu"
    dtype = torch.bfloat16 if half else torch.float32
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for layers in reversed([each for each in total.modules() if isinstance(each, nn.ModuleList)]):  # inner ones first
        for layer in layers:
            fully_shard(layer, mesh=mesh, mp_policy=policy)
    if any(True for _ in total.weighting.parameters()):
        fully_shard(total.weighting, mesh=mesh)
    module: FSDPModule = fully_shard(total, mesh=mesh, mp_policy=policy)
    return module
