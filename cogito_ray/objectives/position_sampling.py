"""Exact random samples of positions, without a loop over rows: the arithmetic that every objective shares.

Samples are drawn on the generator's device and moved, so one seed gives one view whatever device the rows are on.
"""

import torch
from torch import Generator, Tensor

from cogito_ray.text.vocabulary_info import Vocabulary


def uniform(shape: tuple[int, ...], generator: Generator, device: torch.device) -> Tensor:
    """`shape` numbers in [0, 1)."""
    return torch.rand(shape, generator=generator, device=generator.device).to(device)


def text_mask(ids: Tensor, vocabulary: Vocabulary) -> Tensor:
    """(B, N) bool: tokens that carry text, so may be corrupted and asked for. Padding and separators are not."""
    return ~torch.isin(ids, torch.tensor(vocabulary.special_ids, device=ids.device, dtype=ids.dtype))


def slots_for(rate: float, count: int) -> int:
    """`rate` of `count`, rounded half up, at least 1: how many positions of a full row are sampled.

    The second axis of a view has that many slots for every row, however short it is: shapes stay static, so that
    compiled code is not compiled again.
    """
    return max(1, int(rate * count + 0.5))


def counts_for(rate: float | Tensor, counts: Tensor) -> Tensor:
    """`slots_for` of every row: counts (B,) int64 -> (B,); 0 where the count is 0. In float64, as `slots_for`."""
    return (rate * counts.double() + 0.5).long().clamp_min(1).minimum(counts)


def top_positions(scores: Tensor, counts: Tensor, slots: int) -> tuple[Tensor, Tensor]:
    """Positions of each row's `counts` (B,) highest scores (B, N), ascending -> positions (B, slots), used (B, slots).

    Slots past a row's count come last, stand at position 0 and are not used. Counts must not exceed `slots`.
    """
    length = scores.shape[1]
    by_score = scores.topk(slots, dim=1).indices                                    # (B, slots), best first
    used = torch.arange(slots, device=scores.device) < counts[:, None]              # (B, slots)
    positions = by_score.masked_fill(~used, length).sort(dim=1).values              # `length` sorts behind all others
    return positions.masked_fill(positions == length, 0), used


def random_scores(eligible: Tensor, generator: Generator) -> Tensor:
    """eligible (B, N) -> (B, N) whose `top_positions` are a uniform sample without replacement of each row's eligible
    positions. Those that are not eligible score -1, below all others."""
    return uniform(tuple(eligible.shape), generator, eligible.device).masked_fill(~eligible, -1.0)


def sample_targets(eligible: Tensor, counts: Tensor, slots: int, scores: Tensor) -> tuple[Tensor, Tensor]:
    """A sample of positions that stands for all eligible ones, by their `random_scores` (B, N) -> positions (B, slots),
    weights (B, slots).

    A target weighs the number of eligible positions it stands for (the inverse of its chance to be sampled, Horvitz &
    Thompson, doi:10.1080/01621459.1952.10483446), so a weighted mean over the batch is an unbiased estimate of scoring
    every one of them: its divisor is exact, its sum is so in expectation. Unused slots weigh 0.
    """
    positions, used = top_positions(scores, counts, slots)
    stands_for = eligible.sum(dim=1) / counts.clamp_min(1)                          # (B,)
    return positions, stands_for[:, None] * used


def cropped(ids: Tensor, share: float, pad_id: int, generator: Generator) -> Tensor:
    """ids (B, N) -> the same, with each row cut, at the chance `share`, after a tenth of its places or more."""
    rows, length = ids.shape
    least = max(1, length // 10)
    chosen, drawn = uniform((2, rows, 1), generator, ids.device)                # (B, 1) each
    ends = least + (drawn * (length - least + 1)).long()                        # least to N
    return ids.masked_fill((chosen < share) & (torch.arange(length, device=ids.device) >= ends), pad_id)
