"""The data plan: the order in which rows are read, a pure function of seed, position and weights.

This project's own answer to shuffling: no sampler has a state, and no order is stored. Position p of a run, counted
over all its workers, has a row that anybody can compute, so a resumed run needs the number of its step alone, 1, 2 or 4
workers read the same rows, and who reads them (a memory map, Ray Data) does not matter. Sources are mixed in blocks of
1000 positions (of as many thousands as small weights need), in each of which every source has its share, in an order
shuffled by (seed, block). Within a
source, an epoch is a permutation that is computed, not stored: a Feistel network, which is a bijection of the numbers
below a power of four whatever its round function is, walked again until it lands inside the source (cycle walking,
doi:10.1007/3-540-45760-7_9). So any position costs the same.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np

BLOCK = 1000
"""Positions in which every source gets its share, unless rounding would change it by more than TOLERANCE."""
LARGEST_BLOCK = 100 * BLOCK
TOLERANCE = 0.005
"""Of a source's share, relative."""
ROUNDS = 8
"""Of the Feistel network; four make a pseudo-random permutation of a good round function (doi:10.1137/0217022)."""
Indices = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

Bits = np.ndarray[tuple[int, ...], np.dtype[np.uint64]]


@dataclass(frozen=True)
class RowPlan:
    """The order of the train rows of some sources under one seed. ValueError for a weight below 1 in 100,000."""

    rows: tuple[int, ...]
    """Train rows of each source."""
    weights: tuple[float, ...]
    seed: int

    def __post_init__(self) -> None:
        starved = [index for index, quota in enumerate(self.quotas) if quota == 0]
        if starved:
            raise ValueError(
                f"data.sources: weights {list(self.weights)} leave source number {starved[0]} less than one row in "
                f"{self.block}; raise its weight or remove it"
            )

    @cached_property
    def block(self) -> int:
        """Positions in which shares are kept: the fewest, in steps of 1000, that keep each within TOLERANCE."""
        best = BLOCK
        for block in range(BLOCK, LARGEST_BLOCK + 1, BLOCK):
            if self._error(block) <= TOLERANCE:
                return block
            best = min(best, block, key=self._error)
        return best

    @cached_property
    def quotas(self) -> Indices:
        """Rows of each source per block."""
        return self._rounded(self.block)

    def _rounded(self, block: int) -> Indices:
        """Shares rounded so that they sum to the block (largest remainder method)."""
        exact = np.array(self.weights) / sum(self.weights) * block
        quotas = np.floor(exact).astype(np.int64)
        neediest = np.argsort(quotas - exact, kind="stable")
        quotas[neediest[: block - quotas.sum()]] += 1
        return quotas

    def _error(self, block: int) -> float:
        shares = np.array(self.weights) / sum(self.weights)
        return float(np.abs(self._rounded(block) / block / shares - 1).max())

    def position(self, source: int, draw: int) -> int:
        """Where a source is drawn for the so-manyth time, counted from 0."""
        block, before = divmod(draw, int(self.quotas[source]))
        sources, _ = _block(self, block)
        return block * self.block + int(np.flatnonzero(sources == source)[before])

    def take(self, start: int, count: int) -> tuple[Indices, Indices]:
        """For positions [start, start + count): the source of each, and the number of its train row there."""
        return self.at(np.arange(start, start + count))

    def at(self, positions: Indices) -> tuple[Indices, Indices]:
        """For ascending positions (P,): the source of each, and the number of its train row there. Cheapest for
        thousands at a time."""
        sources, draws = self.draws(positions)
        return sources, self._rows(sources, draws)

    def draws(self, positions: Indices) -> tuple[Indices, Indices]:
        """For ascending positions (P,): the source of each, and how often it was drawn before."""
        if not len(positions):
            return positions, positions
        first, last = int(positions[0]) // self.block, int(positions[-1]) // self.block
        blocks = [_block(self, block) for block in range(first, last + 1)]
        inside = positions - first * self.block
        sources, drawn = (np.concatenate(parts)[inside] for parts in zip(*blocks, strict=True))
        return sources, drawn

    def _rows(self, sources: Indices, draws: Indices) -> Indices:
        rows = np.empty_like(draws)
        for source, size in enumerate(self.rows):
            mine = np.flatnonzero(sources == source)
            epochs, offsets = np.divmod(draws[mine], size)
            bounds = np.flatnonzero(np.diff(epochs, prepend=-1, append=-1))     # draws of a source ascend
            for start, stop in pairwise(bounds):
                key = (self.seed, source, int(epochs[start]))
                rows[mine[start:stop]] = permuted(offsets[start:stop], size, key)
        return rows


@lru_cache(maxsize=16)
def _block(plan: RowPlan, block: int) -> tuple[Indices, Indices]:
    """The source at each of a block's positions, and how often it was drawn before."""
    in_order = np.repeat(np.arange(len(plan.rows)), plan.quotas)
    sources = np.random.default_rng([plan.seed, block]).permutation(in_order)
    draws = np.empty(plan.block, np.int64)
    for source, quota in enumerate(plan.quotas):
        draws[sources == source] = np.arange(quota) + block * quota
    return sources, draws


@lru_cache(maxsize=256)
def _keys(key: tuple[int, ...]) -> Bits:
    return np.random.SeedSequence(key).generate_state(ROUNDS, np.uint64).astype(np.uint64)


def permuted(offsets: Indices, size: int, key: tuple[int, ...]) -> Indices:
    """Where a pseudo-random permutation of range(size), named by `key`, sends `offsets`.

    The network permutes the numbers of 2 x `half` bits, at most four times as many as `size`; a result outside of
    range(size) is sent on until it is inside, fewer than four times on average. As the network is a bijection, two
    offsets never meet.
    """
    half = max(1, -(-(size - 1).bit_length() // 2))
    keys = _keys(key)
    result = _feistel(offsets.astype(np.uint64), half, keys)
    outside = np.flatnonzero(result >= size)
    while len(outside):
        result[outside] = walked = _feistel(result[outside], half, keys)
        outside = outside[walked >= size]
    return result.astype(np.int64)


def share_of_batch(step: int, *, batch: int, rank: int, world: int) -> tuple[int, int]:
    """Start and count of the positions that worker `rank` of `world` reads for global batch number `step`."""
    if batch % world:
        raise ValueError(f"a batch of {batch} rows cannot be split evenly over {world} workers")
    count = batch // world
    return step * batch + rank * count, count


def positions_of(steps: range, *, batch: int, rank: int, world: int) -> Indices:
    """(S, batch / world) the positions that worker `rank` of `world` reads for each of these global batches."""
    start, count = share_of_batch(steps.start, batch=batch, rank=rank, world=world)
    return start + batch * np.arange(len(steps))[:, None] + np.arange(count)


def _feistel(values: Bits, half: int, keys: Bits) -> Bits:
    """(left, right) -> (right, left xor F(right, key)) per round: each round can be undone, whatever F is."""
    shift, mask = np.uint64(half), np.uint64((1 << half) - 1)
    left, right = values >> shift, values & mask
    for key in keys:
        bits = _mixed(right ^ key)
        bits &= mask
        bits ^= left
        left, right = right, bits
    return (left << shift) | right


def _mixed(bits: Bits) -> Bits:
    """SplitMix64's finaliser (doi:10.1145/2714064.2660195), in place."""
    bits ^= bits >> np.uint64(30)
    bits *= np.uint64(0xBF58476D1CE4E5B9)
    bits ^= bits >> np.uint64(27)
    bits *= np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    return bits
