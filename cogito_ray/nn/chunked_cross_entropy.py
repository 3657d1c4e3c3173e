"""Cross-entropy of a linear layer's outputs that never holds the (M, V) logits: rows are worked off in chunks.

`weighted_sum` computes its gradient on the way forward, while a chunk's logits are at hand (arXiv:2410.10989), so it
multiplies by the weight matrix three times where `nats`, which must wait for its gradient, needs four. On one CPU
thread with V = 8,192, D = 128, M = 1,024 it takes 145 ms, full logits 191, and torch 2.15's chunked
`linear_cross_entropy` 204 with a sum and 277 without reduction.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_CPU_ROWS = 128
_ACCELERATOR_LOGITS = 2**27
"""Logits alive at once on an accelerator, where small matrices waste it: 512 MiB in float32."""


def nats(
    hidden: Tensor, weight: Tensor, *, bias: Tensor | None, targets: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    """hidden (M, D), weight (V, D), bias (V,), targets (M,) -> cross-entropy (M,) float32.

    Backward computes each chunk's logits again.
    """
    hidden, weight = _autocast(hidden), _autocast(weight)
    rows = _rows(hidden, weight)
    parts = [
        checkpoint(_chunk_nats, h, weight, bias, t, label_smoothing, use_reentrant=False, preserve_rng_state=False)
        for h, t in zip(hidden.split(rows), targets.split(rows), strict=True)
    ]
    return torch.cat(parts)


def weighted_sum(
    hidden: Tensor,
    weight: Tensor,
    *,
    bias: Tensor | None,
    targets: Tensor,
    weights: Tensor,
    label_smoothing: float = 0.0,
) -> Tensor:
    """The sum over targets of weights (M,) x `nats`, a scalar. No gradient reaches `weights`, so that they are known on
    the way forward, and with them the gradient of every logit."""
    hidden, weight = _autocast(hidden), _autocast(weight)
    total: Tensor = _WeightedSum.apply(hidden, weight, bias, targets, weights.float(), label_smoothing)  # type: ignore[no-untyped-call]
    return total


def _chunk_nats(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, label_smoothing: float) -> Tensor:
    logits = torch.nn.functional.linear(hidden, weight, bias).float()          # (rows, V)
    return torch.nn.functional.cross_entropy(logits, targets, reduction="none", label_smoothing=label_smoothing)


class _WeightedSum(torch.autograd.Function):
    """Forward saves the three gradients of the sum; backward only multiplies them by the gradient that it is given."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        weights: Tensor,
        smoothing: float,
    ) -> Tensor:
        total = torch.zeros((), device=hidden.device)
        trains = any(ctx.needs_input_grad)
        d_hidden = torch.empty_like(hidden) if trains else None
        d_weight = torch.zeros(weight.shape, device=weight.device) if trains else None      # float32, as it is a sum
        d_bias = torch.zeros(len(weight), device=weight.device) if trains else None
        rows = _rows(hidden, weight)
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            logits = _logits(hidden[part], weight, bias)                       # (rows, V) float32
            total += _loss_and_gradient_(logits, targets[part], weights[part], smoothing)
            if d_hidden is not None and d_weight is not None and d_bias is not None:
                gradient = logits.to(hidden.dtype)                             # which is what logits now hold
                d_hidden[part] = gradient @ weight
                _add_product(d_weight, gradient.T, hidden[part])
                d_bias += logits.sum(dim=0)
        ctx.save_for_backward(d_hidden, d_weight, d_bias)
        ctx.has_bias = bias is not None
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_weight, d_bias = ctx.saved_tensors
        scale = gradient.to(d_hidden.dtype)
        d_bias = d_bias * gradient if ctx.has_bias else None
        return d_hidden * scale, (d_weight * gradient).to(d_hidden.dtype), d_bias, None, None, None


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if bias is not None and hidden.dtype == bias.dtype:
        return torch.addmm(bias, hidden, weight.T)
    logits = (hidden @ weight.T).float()                                       # under autocast: bias and sum in float32
    return logits if bias is None else logits.add_(bias)


def _loss_and_gradient_(logits: Tensor, targets: Tensor, weights: Tensor, smoothing: float) -> Tensor:
    """The weighted sum of nats; overwrites logits (rows, V) with its gradient.

    With p = softmax(logits), target t and smoothing s, a row's nats are (1 - s) (-log p_t) + s mean_v(-log p_v), whose
    gradient is p - s / V - (1 - s) at t (one-hot). In place, as a second (rows, V) tensor would double the memory.
    """
    normaliser = logits.logsumexp(dim=1)                                       # (rows,)
    nats = normaliser - logits.gather(1, targets[:, None]).squeeze(1)
    if smoothing:
        nats = (1 - smoothing) * nats + smoothing * (normaliser - logits.mean(dim=1))
    logits.sub_(normaliser[:, None]).exp_().mul_(weights[:, None])
    if smoothing:
        logits.sub_(weights[:, None] * (smoothing / logits.shape[1]))
    logits.scatter_add_(1, targets[:, None], (smoothing - 1) * weights[:, None])
    return (nats * weights).sum()


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total.add_(left @ right)


def _autocast(x: Tensor) -> Tensor:
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def _rows(hidden: Tensor, weight: Tensor) -> int:
    """Rows of a chunk: on a CPU few, whose logits stay in its cache."""
    if hidden.is_cpu:
        return _CPU_ROWS
    return max(1, min(len(hidden), _ACCELERATOR_LOGITS // len(weight)))
