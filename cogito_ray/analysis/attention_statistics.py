"""How concepts share out their reading: broadly or narrowly, by place or by content, of which kinds of tokens (after
arXiv:1906.04341).

R texts, C concepts, K tokens. `shares` (R, C, K) sum to 1 over the tokens of a text and are 0 at padding; `visible`
(R, K) is False there. Every text has a visible token.
"""

from typing import NamedTuple

import torch
from torch import Tensor

BINS = 32
"""Parts of a text, at most, in which places are counted."""
RARE = 5
"""Tokens seen less often are no favourites: chance would choose them."""


class Peak(NamedTuple):
    row: int
    place: int
    share: float


def entropies(shares: Tensor, visible: Tensor) -> Tensor:
    """(C,) mean over texts of the entropy over that of reading all tokens alike: 0 = one token, 1 = all alike."""
    most = visible.sum(dim=1).clamp_min(2).log()                            # (R,)
    entropy: Tensor = torch.special.entr(shares.double()).sum(dim=-1)       # (R, C)
    return (entropy / most[:, None]).mean(dim=0)


def by_place(shares: Tensor, visible: Tensor) -> Tensor:
    """(R, C, P) what is read in each of P equal parts of a text, P at most 32."""
    parts = min(BINS, shares.shape[-1])
    part = torch.arange(shares.shape[-1]) * parts // visible.sum(dim=1, keepdim=True).clamp_min(1)          # (R, K)
    index = part.clamp(max=parts - 1)[:, None].expand_as(shares)
    return torch.zeros(*shares.shape[:2], parts, dtype=torch.float64).scatter_add_(2, index, shares.double())


def place_bias(shares: Tensor, visible: Tensor) -> Tensor:
    """(C,) share of the variation of what is read where that the place alone explains.

    1 = the same places whatever the text says; about 1/R = places that the text alone decides.
    """
    read = by_place(shares, visible)                                        # (R, C, P)
    varied = (read - 1 / read.shape[-1]).square().sum(dim=(0, 2))           # (C,)
    of_place = (read.mean(dim=0) - 1 / read.shape[-1]).square().sum(dim=-1) * len(read)
    even = varied <= 1e-12 * len(read)                                      # all places alike in every text
    return torch.where(even, 1.0, of_place / varied.clamp_min(1e-300))


def centres(shares: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """(C,) mean place that is read, and (C,) its standard deviation within a text, in shares of the text."""
    places = (torch.arange(shares.shape[-1]) + 0.5) / visible.sum(dim=1, keepdim=True)                      # (R, K)
    mean = (shares * places[:, None]).sum(dim=-1)                           # (R, C)
    spread = (shares * (places[:, None] - mean[..., None]).square()).sum(dim=-1).sqrt()
    return mean.mean(dim=0), spread.mean(dim=0)


def lifts(shares: Tensor, visible: Tensor, kinds: Tensor, count: int) -> Tensor:
    """(C, count) how much more of each kind of token is read than reading all alike would: 1 = as much.

    kinds (R, K) int64, below `count`. NaN for a kind that no text holds.
    """
    member = torch.nn.functional.one_hot(kinds, count).double() * visible[..., None]                        # (R, K, N)
    read = torch.einsum("rck,rkn->cn", shares.double(), member) / len(shares)
    there = (member.sum(dim=1) / visible.sum(dim=1, keepdim=True)).mean(dim=0)                              # (N,)
    return read / torch.where(there > 0, there, torch.nan)


def favourites(shares: Tensor, visible: Tensor, ids: Tensor, most: int) -> list[list[int]]:
    """Per concept at most `most` token ids that it reads more than reading all alike would, the most telling first.

    Telling is what a token adds to the divergence of what is read from what there is: both much read and more than
    its due. ids (R, K).
    """
    names, index = ids.unique(return_inverse=True)                          # (U,), (R, K)
    even = visible / visible.sum(dim=1, keepdim=True)                       # (R, K)
    flat = index.flatten()
    due = torch.zeros(len(names), dtype=torch.float64).scatter_add_(0, flat, even.flatten().double())
    seen = torch.zeros(len(names)).scatter_add_(0, flat, visible.flatten().float())
    chosen = []
    for one in shares.double().unbind(dim=1):                               # (R, K)
        read = torch.zeros_like(due).scatter_add_(0, flat, one.flatten())
        gain = torch.where(seen >= RARE, read * (read / due.clamp_min(1e-12)).clamp_min(1e-12).log(), 0.0)
        best = gain.topk(min(most, len(gain)))
        chosen.append(names[best.indices[best.values > 0]].tolist())
    return chosen


def peaks(shares: Tensor, most: int) -> list[list[Peak]]:
    """Per concept, where it reads one token most: one place a text, of `most` texts, the greatest share first."""
    share, place = shares.max(dim=-1)                                       # (R, C)
    best = share.topk(min(most, len(share)), dim=0)
    return [
        [Peak(int(row), int(place[row, concept]), float(share[row, concept])) for row in rows]
        for concept, rows in enumerate(best.indices.T)
    ]
