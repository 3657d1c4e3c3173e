"""Cross-entropy of a linear layer's outputs that never holds the (M, V) logits: rows are worked off in chunks.

`weighted_sum` computes its gradient on the way forward, while a chunk's logits are at hand (arXiv:2410.10989), so it
multiplies by the weight matrix three times where `nats`, which must wait for its gradient, needs four.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

_CPU_ROWS = 256
"""With V = 50,368 and D = 512, loss and gradients of 128, 256 and 512 rows run at 84, 89 and 90 % of the rate of square
matrices on one thread; with V = 8,192 and D = 128 at 69, 74 and 75 %."""
_ACCELERATOR_LOGITS = 2**27
"""Logits alive at once on an accelerator, where small matrices waste it: 512 MiB in float32."""


@dataclass(frozen=True)
class Penalties:
    """What is added to the plain cross-entropy of a target t."""

    label_smoothing: float = 0.0
    """The share s of a target that is spread evenly over the vocabulary (arXiv:1512.00567)."""
    z_loss: float = 0.0
    """Multiplies the squared log-normaliser, which keeps logits from drifting away (arXiv:2204.02311)."""


Descend = Callable[[Tensor, Tensor, Penalties], Tensor]
"""Overwrites logits (rows, V) with the gradient of their nats (rows,) at targets (rows,), and returns these."""


@dataclass(frozen=True)
class Kernel:
    """How the logits of a chunk become losses and gradients."""

    descend: Descend
    dtype: torch.dtype | None
    """Of the logits; None = that of hidden vectors and weights."""


def descend(logits: Tensor, targets: Tensor, penalties: Penalties) -> Tensor:
    """The `Kernel` in plain torch.

    With p = softmax(logits), n = logsumexp(logits), smoothing s and z, a row's nats are (1 - s) (n - logit_t) +
    s mean_v(n - logit_v) + z n^2, whose gradient is (1 + 2 z n) p - s / V - (1 - s) at t (one-hot). One exponential a
    logit, in place: a softmax may write where it reads, for it reads an entry for the last time when it writes it. The
    normaliser is found again from the largest logit, whose p is 1 / sum(exp(logits - largest)), so at least 1 / V.
    """
    smoothing, z_loss = penalties.label_smoothing, penalties.z_loss
    at_target, largest = logits.gather(1, targets[:, None]).squeeze(1), logits.amax(dim=1)      # (rows,)
    mean = logits.mean(dim=1) if smoothing else None
    torch.softmax(logits, dim=1, out=logits)
    normaliser = largest - logits.amax(dim=1).log()
    nats = normaliser - at_target
    if mean is not None:
        nats = (1 - smoothing) * nats + smoothing * (normaliser - mean)
    if z_loss:
        nats = nats + z_loss * normaliser.square()
        logits.mul_((1 + 2 * z_loss * normaliser)[:, None])
    if smoothing:
        logits.sub_(smoothing / logits.shape[1])
    logits.scatter_add_(1, targets[:, None], torch.full_like(nats, smoothing - 1)[:, None])
    return nats


PLAIN = Kernel(descend, torch.float32)


def nats(
    hidden: Tensor, weight: Tensor, *, bias: Tensor | None, targets: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    """hidden (M, D), weight (V, D), bias (V,), targets (M,) -> cross-entropy (M,) float32.

    Backward computes each chunk's logits again.
    """
    hidden, weight = autocast(hidden), autocast(weight)
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
    penalties: Penalties = Penalties(),
    kernel: Kernel = PLAIN,
) -> Tensor:
    """The sum over targets of weights (M,) x (`nats` and penalties), a scalar. No gradient reaches `weights`, so that
    they are known on the way forward, and with them the gradient of every logit. It can be descended once."""
    hidden, weight = autocast(hidden), autocast(weight)
    if not torch.is_grad_enabled():                        # a function is told what requires a gradient, not if it will
        hidden, weight, bias = hidden.detach(), weight.detach(), None if bias is None else bias.detach()
    total: Tensor = _WeightedSum.apply(hidden, weight, bias, targets, weights.float(), penalties, kernel)  # type: ignore[no-untyped-call]
    return total


def autocast(x: Tensor) -> Tensor:
    """x in the precision that an operation of its device would take it in."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def _chunk_nats(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, label_smoothing: float) -> Tensor:
    logits = F.linear(hidden, weight, bias).float()                            # (rows, V)
    return F.cross_entropy(logits, targets, reduction="none", label_smoothing=label_smoothing)


class _WeightedSum(torch.autograd.Function):
    """Forward computes the three gradients of the sum; backward only multiplies them by the gradient that it is given.

    A row's weight scales the row of `hidden` from which d_weight is made, and afterwards the row of d_hidden: equal to
    scaling its V logits, for less.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        weights: Tensor,
        penalties: Penalties,
        kernel: Kernel,
    ) -> Tensor:
        sums = _Sums(hidden, weight) if any(ctx.needs_input_grad) else None
        total, rows = torch.zeros((), device=hidden.device), _rows(hidden, weight)
        buffer = hidden.new_empty((min(rows, len(hidden)), len(weight)), dtype=kernel.dtype)
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            logits = _logits_into(buffer[: len(hidden[part])], hidden[part], weight, bias)
            total += (kernel.descend(logits, targets[part], penalties) * weights[part]).sum()
            if sums is not None:
                sums.add(part, logits, hidden[part], weight, weights[part])
        ctx.sums, ctx.has_bias, ctx.dtype = sums, bias is not None, hidden.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        sums: _Sums | None = ctx.sums
        if sums is None:
            raise RuntimeError("a weighted sum of nats was descended once before; compute it again")
        ctx.sums = None                                                # what is returned may become a weight's .grad
        d_bias = sums.bias.mul_(gradient) if ctx.has_bias else None
        d_weight = sums.weight.mul_(gradient).to(ctx.dtype)
        return sums.hidden.mul_(gradient), d_weight, d_bias, None, None, None, None


class _Sums:
    """Gradients of hidden (M, D), of weight (V, D) and of bias (V,), chunk by chunk; sums are in float32."""

    def __init__(self, hidden: Tensor, weight: Tensor):
        self.hidden = torch.empty_like(hidden)
        self.weight = torch.zeros(weight.shape, device=weight.device)
        self.bias = torch.zeros(len(weight), device=weight.device)

    def add(self, part: slice, logits: Tensor, hidden: Tensor, weight: Tensor, weights: Tensor) -> None:
        """logits (rows, V), by now their gradient for weights of 1, of these rows of hidden and weights."""
        gradient = logits.to(hidden.dtype)
        torch.mm(gradient, weight, out=self.hidden[part]).mul_(weights[:, None])
        weighted = (hidden * weights[:, None]).to(hidden.dtype)
        if self.weight.dtype == hidden.dtype:
            self.weight.addmm_(gradient.T, weighted)
        elif hidden.is_cuda:                                                   # which adds without rounding
            torch.addmm(self.weight, gradient.T, weighted, out_dtype=self.weight.dtype, out=self.weight)
        else:
            self.weight.add_(gradient.T @ weighted)
        self.bias.add_(torch.mv(logits.T, weights.to(logits.dtype)))


def _logits_into(out: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Logits (rows, V) of hidden (rows, D), in the precision of `out`, which holds them."""
    if out.dtype != hidden.dtype:                                              # under autocast: bias and sum in float32
        if hidden.is_cuda:
            torch.mm(hidden, weight.T, out_dtype=out.dtype, out=out)
        else:
            out.copy_(hidden @ weight.T)
        return out if bias is None else out.add_(bias)
    if bias is None:
        return torch.mm(hidden, weight.T, out=out)
    return torch.addmm(bias.to(out.dtype), hidden, weight.T, out=out)


def _rows(hidden: Tensor, weight: Tensor) -> int:
    """Rows of a chunk: on a CPU few, whose logits stay in its cache."""
    if hidden.is_cpu:
        return _CPU_ROWS
    return max(1, min(len(hidden), _ACCELERATOR_LOGITS // len(weight)))
