"""Masking of whole spans: random ones (SpanBERT, arXiv:1907.10529) or collocations (PMI-Masking, arXiv:2010.01825).

A row's units are masked in random order until exactly its share of tokens is reached; the last one may be cut short.
"""

from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import PositiveInt, model_validator
from torch import Generator, Tensor

from cogito_ray.base_spec import Spec
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.objectives.position_sampling import counts_for, slots_for, text_mask, top_positions, uniform
from cogito_ray.objectives.token_masking import Rate, masked_view
from cogito_ray.text.vocabulary_info import Collocations, Vocabulary


class SpanSpec(Spec):
    """Spans of random length, so that a token cannot be guessed from its neighbours."""

    kind: Literal["span"] = "span"
    provides: ClassVar[frozenset[str]] = frozenset({"ids"})
    needs: ClassVar[frozenset[str]] = frozenset()
    respects_documents: ClassVar[bool] = True
    rate: Rate = 0.3
    """Share of each row's text tokens to predict, exactly (rounded half up)."""
    shortest: PositiveInt = 3
    """Tokens of the shortest span."""
    longest: PositiveInt = 10
    """Tokens of the longest span; lengths are drawn evenly between the two. Neighbouring spans may touch."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.shortest > self.longest:
            raise ValueError(f"shortest {self.shortest} is more than longest {self.longest}; swap them")
        return self

    def corrupt(self, ids: Tensor, vocabulary: Vocabulary, generator: Generator) -> View:
        """ids (B, N) clean -> view with K = N, M = rate of N."""
        text = text_mask(ids, vocabulary)
        return _masked_in_order(ids, text, self.rate, self._order(text, generator), vocabulary)

    def _order(self, text: Tensor, generator: Generator) -> Tensor:
        """text (B, N) -> (B, N) rank of the first span that covers each token; higher = masked earlier.

        Every position starts one candidate span, and candidates are ranked at random; a token takes the highest rank
        among those that cover it. Sorting tokens by it masks whole spans one after another, without a loop over rows.
        A span that would leave its text ranks below all that fit.
        """
        shape, length, device = tuple(text.shape), text.shape[1], text.device
        size = self.shortest + (uniform(shape, generator, device) * (self.longest - self.shortest + 1)).long()
        rank = uniform(shape, generator, device).argsort(dim=1)                     # (B, N) a random order
        at = torch.arange(length, device=device).expand(shape)
        # the nearest position from here on that is no text: a running minimum from the right
        end = torch.where(text, length, at).flip(1).cummin(dim=1).values.flip(1)
        rank = rank + length * (at + size <= end)
        covering = torch.full(shape, -1, device=device)
        for offset in range(min(self.longest, length)):
            reaches = (size > offset) & (at + offset < end)
            shifted = rank.masked_fill(~reaches, -1).roll(offset, dims=1)           # nothing wraps: end <= length
            covering = covering.maximum(shifted)
        return covering


class PmiSpec(Spec):
    """Collocations are masked whole, so that one half does not give the other away; other tokens are units of one."""

    kind: Literal["pmi"] = "pmi"
    provides: ClassVar[frozenset[str]] = frozenset({"ids"})
    needs: ClassVar[frozenset[str]] = frozenset({"collocations"})
    respects_documents: ClassVar[bool] = True
    rate: Rate = 0.15
    """Share of each row's text tokens to predict, exactly (rounded half up)."""

    def corrupt(self, ids: Tensor, vocabulary: Vocabulary, generator: Generator) -> View:
        """ids (B, N) clean -> view with K = N, M = rate of N. Raises ValueError without collocations."""
        if vocabulary.collocations is None:
            raise ValueError("objective 'pmi' masks collocations, but none were counted for this corpus; use 'span'")
        text = text_mask(ids, vocabulary)
        unit = _units(matches(ids, vocabulary.collocations, vocabulary.size))       # (B, N)
        rank = uniform(tuple(ids.shape), generator, ids.device).argsort(dim=1)      # one per unit, a few left over
        return _masked_in_order(ids, text, self.rate, rank.gather(1, unit), vocabulary)


def matches(ids: Tensor, collocations: Collocations, size: int) -> Tensor:
    """ids (B, N) below `size` -> (B, N) tokens of the longest collocation that starts at each position; 1 = none does.

    All positions walk down the trie together, one level a pass: a key is (node so far) * size + (next token), found by
    binary search (see `Collocations`).
    """
    longest = torch.ones_like(ids)
    node = ids                                                                      # what has matched so far
    for depth, (keys, whole) in enumerate(zip(collocations.keys, collocations.whole, strict=True), start=1):
        table = torch.from_numpy(keys).to(ids.device)                               # (entries,) ascending
        following = F.pad(ids, (0, depth), value=-1)[:, depth:]   # (B, N)
        wanted = torch.where((node >= 0) & (following >= 0), node * size + following, -1)
        found = torch.searchsorted(table, wanted).clamp_max(len(table) - 1)         # (B, N)
        node = torch.where(table[found] == wanted, found, -1)
        ends = (node >= 0) & torch.from_numpy(whole).to(ids.device)[found]
        longest = torch.where(ends, depth + 1, longest)
    return longest


def _units(longest: Tensor) -> Tensor:
    """(B, N) match lengths -> (B, N) number of each token's unit, reading from the left and taking the longest match.

    Where a unit starts depends on all units before it. That chain is followed by pointer doubling (Wyllie 1979):
    `jump` leads from each position 1, 2, 4, ... units ahead if a unit started there, and `starts` holds the positions
    that 0, then 0 to 1, 0 to 3, ... jumps from the row's first reach: log2(N) passes for all rows.
    """
    rows, length = longest.shape
    limit = torch.arange(length + 1, device=longest.device)                         # (N + 1,), the last = past the end
    jump = torch.cat([limit[:-1] + longest, limit[-1:].expand(rows, 1)], dim=1).clamp_max(length)
    starts = (limit == 0).expand(rows, -1)                                          # (B, N + 1)
    for _ in range(max(1, (length - 1).bit_length())):
        landed = torch.zeros_like(starts).long().scatter_add(1, jump, starts.long()) > 0
        starts, jump = starts | landed, jump.gather(1, jump)
    return starts[:, :length].long().cumsum(dim=1) - 1


def _masked_in_order(ids: Tensor, text: Tensor, rate: float, order: Tensor, vocabulary: Vocabulary) -> View:
    """Mask the share `rate` of each row's text, tokens of higher `order` (B, N) first, from the left within a unit."""
    length = ids.shape[1]
    counts, slots = counts_for(rate, text.sum(dim=1)), slots_for(rate, length)
    from_left = torch.arange(length, 0, -1, device=ids.device)                      # (N,)
    scores = (order * (length + 1) + from_left).masked_fill(~text, -1)              # from_left breaks ties
    positions, used = top_positions(scores, counts, slots)
    return masked_view(ids, positions, used, vocabulary, torch.full_like(positions, vocabulary.mask_id))
