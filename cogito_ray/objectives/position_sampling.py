"""Exact random draws of positions, without a loop over rows: the arithmetic every objective shares.

Draws are made on the generator's device and moved, so one seed gives one view whatever device the rows are on.
"""

import torch
from torch import Generator, Tensor

from cogito_ray.text.vocabulary import Vocabulary


def uniform(shape: tuple[int, ...], generator: Generator, device: torch.device) -> Tensor:
    """`shape` numbers in [0, 1)."""
    return torch.rand(shape, generator=generator, device=generator.device).to(device)


def ordinary(ids: Tensor, vocabulary: Vocabulary) -> Tensor:
    """(B, N) bool: tokens that carry text, so may be corrupted and asked for. Padding and separators are not."""
    return ~torch.isin(ids, torch.tensor(vocabulary.special_ids, device=ids.device, dtype=ids.dtype))


def share_of(rate: float, count: int) -> int:
    """`rate` of `count`, rounded half up, at least 1: the static number of slots of a full row."""
    return max(1, int(rate * count + 0.5))


def shares_of(rate: float | Tensor, counts: Tensor) -> Tensor:
    """`share_of` for every row: counts (B,) int64 -> (B,); 0 where the count is 0."""
    return (rate * counts.double() + 0.5).long().clamp_min(1).minimum(counts)


def best(scores: Tensor, counts: Tensor, slots: int) -> tuple[Tensor, Tensor]:
    """Positions of each row's `counts` (B,) highest scores (B, N), in order -> positions (B, slots), used (B, slots).

    Slots past a row's count come last, stand at position 0 and are not used. Counts must not exceed `slots`.
    """
    length = scores.shape[1]
    ranked = scores.topk(slots, dim=1).indices                                      # (B, slots)
    used = torch.arange(slots, device=scores.device) < counts[:, None]              # (B, slots)
    positions = ranked.masked_fill(~used, length).sort(dim=1).values                # unused slots sort last
    return positions.masked_fill(positions == length, 0), used


def draw(eligible: Tensor, counts: Tensor, slots: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """`best` for random scores: each row draws `counts` (B,) of its eligible (B, N) positions, all equally likely."""
    scores = uniform(tuple(eligible.shape), generator, eligible.device)             # (B, N)
    return best(scores.masked_fill(~eligible, -1.0), counts, slots)


def scored(eligible: Tensor, counts: Tensor, slots: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """`draw` targets that stand for all eligible positions of their row -> positions (B, slots), weights (B, slots).

    A target weighs the number of eligible positions it stands for, so a weighted mean over the batch is an unbiased
    estimate of scoring every one of them: its divisor is exact, its sum is so in expectation. Surplus weighs 0.
    """
    positions, used = draw(eligible, counts, slots, generator)
    stands_for = eligible.sum(dim=1) / counts.clamp_min(1)                          # (B,)
    return positions, stands_for[:, None] * used
