"""Statistics of attention weights: do concepts attend broadly or narrowly, by position or by content, to which kinds of
tokens (after arXiv:1906.04341)?

R rows, C concepts, K tokens. `weights` (R, C, K) sum to 1 over the tokens of a row and are 0 at padding; `visible`
(R, K) is False there. Every row has a visible token. `read_by` (R, C or 1, K): what each concept may read, in rows of
several documents its own one alone.
"""

from typing import NamedTuple

import torch
from torch import Tensor

BINS = 32
"""Parts of a text, at most, in which positions are counted."""
RARE = 5
"""Tokens seen less often are no top tokens: chance would choose them."""


class Peak(NamedTuple):
    """Where a concept attends most in one text."""

    row: int
    position: int
    share: float


def entropies(weights: Tensor, read_by: Tensor) -> Tensor:
    """(C,) mean over rows of the entropy, in units of that of uniform weights: 0 = one token, 1 = all alike."""
    most = read_by.sum(dim=-1).clamp_min(2).log()                           # (R, C)
    entropy: Tensor = torch.special.entr(weights.double()).sum(dim=-1)       # (R, C)
    return (entropy / most).mean(dim=0)


def by_position(weights: Tensor, visible: Tensor) -> Tensor:
    """(R, C, P) what is read in each of P equal parts of a text, P at most 32."""
    parts = min(BINS, weights.shape[-1])
    part = torch.arange(weights.shape[-1]) * parts // visible.sum(dim=1, keepdim=True).clamp_min(1)          # (R, K)
    index = part.clamp(max=parts - 1)[:, None].expand_as(weights)
    return torch.zeros(*weights.shape[:2], parts, dtype=torch.float64).scatter_add_(2, index, weights.double())


def position_bias(weights: Tensor, visible: Tensor) -> Tensor:
    """(C,) share of the variation of what is read where that the position alone explains.

    1 = the same positions whatever the text says; about 1/R = positions that the text alone decides.
    """
    read = by_position(weights, visible)                                        # (R, C, P)
    varied = (read - 1 / read.shape[-1]).square().sum(dim=(0, 2))           # (C,) around uniform weights
    of_position = (read.mean(dim=0) - 1 / read.shape[-1]).square().sum(dim=-1) * len(read)
    even = varied <= 1e-12 * len(read)                                      # all positions alike in every text
    return torch.where(even, 1.0, of_position / varied.clamp_min(1e-300))


def centres_and_deviations(weights: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """(C,) mean position that is read, and (C,) its standard deviation within a text, in shares of the text."""
    positions = (torch.arange(weights.shape[-1]) + 0.5) / visible.sum(dim=1, keepdim=True)                      # (R, K)
    mean = (weights * positions[:, None]).sum(dim=-1)                           # (R, C)
    deviation = (weights * (positions[:, None] - mean[..., None]).square()).sum(dim=-1).sqrt()
    return mean.mean(dim=0), deviation.mean(dim=0)


def lifts(weights: Tensor, read_by: Tensor, kinds: Tensor, count: int) -> Tensor:
    """(C, count) how much more of each kind of token is read than reading all alike would: 1 = as much.

    kinds (R, K) int64, below `count`. NaN for a kind that no concept may read.
    """
    member = torch.nn.functional.one_hot(kinds, count).double()                                             # (R, K, N)
    read, there = (torch.einsum("rck,rkn->cn", each, member) for each in (weights.double(), _even(read_by)))
    return read / torch.where(there > 0, there, torch.nan)


def top_tokens(weights: Tensor, read_by: Tensor, ids: Tensor, most: int) -> list[list[int]]:
    """Per concept at most `most` token ids that it reads more than reading all alike would, the most telling first.

    Most telling = the token's term of the Kullback-Leibler divergence of what is read from what there is, p log(p / q):
    large for a token that is both much read and more than its frequency would have it. ids (R, K).
    """
    names, index = ids.unique(return_inverse=True)                          # (U,), (R, K)
    even = _even(read_by).expand_as(weights)                                # (R, C, K)
    flat, none = index.flatten(), torch.zeros(len(names), dtype=torch.float64)
    chosen = []
    for one, alike in zip(weights.double().unbind(dim=1), even.unbind(dim=1), strict=True):                     # (R, K)
        read, due = (none.scatter_add(0, flat, each.flatten()) for each in (one, alike))
        seen = none.scatter_add(0, flat, (alike > 0).flatten().double())
        gain = torch.where(seen >= RARE, read * (read / due.clamp_min(1e-12)).clamp_min(1e-12).log(), 0.0)
        best = gain.topk(min(most, len(gain)))
        chosen.append(names[best.indices[best.values > 0]].tolist())
    return chosen


def _even(read_by: Tensor) -> Tensor:
    """(R, C or 1, K) float64: the weights of a concept that reads all it may alike."""
    return read_by / read_by.sum(dim=-1, keepdim=True).double().clamp_min(1)


def peaks(weights: Tensor, most: int) -> list[list[Peak]]:
    """Per concept, where it reads one token most: one position a text, of `most` texts, the greatest share first."""
    share, position = weights.max(dim=-1)                                       # (R, C)
    best = share.topk(min(most, len(share)), dim=0)
    return [
        [Peak(int(row), int(position[row, concept]), float(share[row, concept])) for row in rows]
        for concept, rows in enumerate(best.indices.T)
    ]
