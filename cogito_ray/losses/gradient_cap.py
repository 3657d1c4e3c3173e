"""The gradient cap: no regulariser may pull harder on the concepts than a share of what the tasks pull.

This project's own idea, in the line of GradNorm (arXiv:1711.02257), which learns loss weights so that gradient norms
balance; here the weights stay what the user wrote, and only a gradient that is too large is scaled down, in the
backward pass itself. For that, each loss term reads a copy of the concepts of its own: on the way back, autograd hands
the gradients of all copies to one function, which can compare their norms, scale them, and sum them up. So a term's
share of the gradient, and the cap on it, cost a few norms and no second backward pass. Norms are over the rows of one
forward pass of one worker.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


@dataclass(frozen=True)
class Branches:
    """Which copy of which layer goes to which term. The first two have one entry per copy, the last one per term."""

    term_of: tuple[int, ...]
    layer_of: tuple[int, ...]
    caps: tuple[float | None, ...]
    """Largest gradient of a regulariser, in units of the tasks'; inf = no cap, None = a task itself."""


def branch_gradients(branches: Branches, share_accumulator: Tensor, layers: list[Tensor]) -> tuple[Tensor, ...]:
    """layers, each (B, C, D) -> one copy per entry of `branches`.

    share_accumulator (terms,) is a leaf whose value nobody reads: backward returns, as its gradient, each term's share
    of the summed gradient norms, caps applied, and autograd adds these up over the passes of a step. A metric leaves
    the backward pass that way, because a Python side effect there would break torch.compile, activation checkpointing
    and DistributedDataParallel's hooks, which all know gradients only.
    """
    copies: tuple[Tensor, ...] = _Branch.apply(branches, share_accumulator, *layers)    # type: ignore[no-untyped-call]
    return copies


class _Branch(torch.autograd.Function):
    """Forward: views of the layers. Backward: capped gradients of the copies, summed per layer."""

    @staticmethod
    def forward(ctx: FunctionCtx, branches: Branches, share_accumulator: Tensor, *layers: Tensor) -> tuple[Tensor, ...]:
        ctx.branches, ctx.depth = branches, len(layers)                 # type: ignore[attr-defined]
        return tuple(layers[layer].view_as(layers[layer]) for layer in branches.layer_of)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        branches: Branches = ctx.branches                               # type: ignore[attr-defined]
        depth: int = ctx.depth                                          # type: ignore[attr-defined]
        scales, norms = _scales_and_norms(branches, grads)
        merged: list[Tensor] = []
        for layer in range(depth):
            owned = zip(branches.term_of, branches.layer_of, grads, strict=True)
            scaled = [scales[term].to(grad.dtype) * grad for term, at, grad in owned if at == layer]
            merged.append(torch.stack(scaled).sum(dim=0))
        capped = scales * norms
        shares = capped / capped.sum().clamp_min(torch.finfo(capped.dtype).tiny)
        return None, shares.nan_to_num(0.0), *merged      # what is not finite is of a step that is skipped


def _scales_and_norms(branches: Branches, grads: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """-> what each term's gradient is multiplied by, and its norm before that; both (terms,) float32."""
    squares = [grad.float().square().sum() for grad in grads]
    norms = torch.stack([
        torch.stack([s for s, owner in zip(squares, branches.term_of, strict=True) if owner == term]).sum().sqrt()
        for term in range(len(branches.caps))
    ])                                                                  # (terms,)
    tasks = [g.float() for g, owner in zip(grads, branches.term_of, strict=True) if branches.caps[owner] is None]
    task_norm = torch.stack(tasks).sum(dim=0).norm()                    # tasks read the last layer only
    free = torch.ones_like(task_norm)                                   # filled where it is: nothing is copied there
    scales = [
        free if cap is None or cap == torch.inf else (cap * task_norm / norm).clamp_max(1.0)
        for cap, norm in zip(branches.caps, norms.clamp_min(torch.finfo(norms.dtype).tiny), strict=True)
    ]
    return torch.stack(scales), norms                                   # (terms,) each
