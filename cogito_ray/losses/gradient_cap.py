"""Hands one copy of the concepts to each loss term, and on the way back sees all their gradients at once.

So the share of gradient each term has, and a cap on it, cost a few norms and no second backward pass. Norms are over
the rows of one forward pass of one worker.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


@dataclass(frozen=True)
class Plan:
    """Which copy of which layer goes to which term. The first two have one entry per copy, the last one per term."""

    term_of: tuple[int, ...]
    layer_of: tuple[int, ...]
    caps: tuple[float | None, ...]
    """Largest gradient of a regulariser, in units of the tasks'; inf = no cap, None = a task itself."""


def fan_out(plan: Plan, gauge: Tensor, layers: list[Tensor]) -> tuple[Tensor, ...]:
    """layers, each (B, C, D) -> one copy per entry of the plan.

    gauge (terms,) is a leaf that requires a gradient; backward adds to its gradient each term's share of the summed
    gradient norms, caps applied. (Not a side effect, so that compilers and hooks see an ordinary gradient.)
    """
    copies: tuple[Tensor, ...] = _Fan.apply(plan, gauge, *layers)       # type: ignore[no-untyped-call]
    return copies


class _Fan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, plan: Plan, gauge: Tensor, *layers: Tensor) -> tuple[Tensor, ...]:
        ctx.plan, ctx.depth = plan, len(layers)                         # type: ignore[attr-defined]
        return tuple(layers[layer].view_as(layers[layer]) for layer in plan.layer_of)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        plan: Plan = ctx.plan                                           # type: ignore[attr-defined]
        depth: int = ctx.depth                                          # type: ignore[attr-defined]
        scales, norms = _scales(plan, grads)
        merged: list[Tensor] = []
        for layer in range(depth):
            owned = zip(plan.term_of, plan.layer_of, grads, strict=True)
            mine = [scales[term].to(grad.dtype) * grad for term, at, grad in owned if at == layer]
            merged.append(torch.stack(mine).sum(dim=0))
        pulls = scales * norms
        return None, pulls / pulls.sum().clamp_min(torch.finfo(pulls.dtype).tiny), *merged


def _scales(plan: Plan, grads: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """-> what each term's gradient is multiplied by, and its norm before that; both (terms,) float32."""
    squares = [grad.float().square().sum() for grad in grads]
    norms = torch.stack([
        torch.stack([s for s, owner in zip(squares, plan.term_of, strict=True) if owner == term]).sum().sqrt()
        for term in range(len(plan.caps))
    ])                                                                  # (terms,)
    tasks = [g.float() for g, owner in zip(grads, plan.term_of, strict=True) if plan.caps[owner] is None]
    pull = torch.stack(tasks).sum(dim=0).norm()                         # tasks read the last layer only
    caps = torch.tensor([torch.inf if cap is None else cap for cap in plan.caps]).to(norms.device, non_blocking=True)
    limit = torch.where(caps.isinf(), torch.inf, caps * pull)           # inf * 0 would be NaN
    return (limit / norms.clamp_min(torch.finfo(norms.dtype).tiny)).clamp_max(1.0), norms
