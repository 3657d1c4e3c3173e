"""The data plan: the order in which rows are read, a pure function of seed, position and weights.

This project's own answer to shuffling: no sampler has a state, and no order is stored. Position p of a run, counted
over all its workers, has a row that anybody can compute, so a resumed run needs the number of its step alone, 1, 2 or 4
workers read the same rows, and who reads them (a memory map, Ray Data) does not matter. Sources are mixed in blocks of
1000 positions, in each of which every source has its share, in an order shuffled by (seed, block). Within a source, an
epoch is a permutation that is computed, not stored: a Feistel network, which is a bijection of the numbers below a
power of four whatever its round function is, walked again until it lands inside the source (cycle walking,
doi:10.1007/3-540-45760-7_9). So any position costs the same.
"""

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import count, pairwise

import numpy as np

BLOCK = 1000
"""Positions in which every source gets its share, rounded to rows."""
PERIOD = 100
"""Blocks of equal shares, the last of which makes up for what rounding left; 1 where rounding would change a share by
more than TOLERANCE."""
TOLERANCE = 0.005
"""Of a source's share, relative."""
ROUNDS = 8
"""Of the Feistel network; four make a pseudo-random permutation of a good round function (doi:10.1137/0217022)."""
Indices = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

Bits = np.ndarray[tuple[int, ...], np.dtype[np.uint64]]


@dataclass(frozen=True)
class RowPlan:
    """The order of the train rows of some sources under one seed. Of n positions, a source has its share of n exactly,
    to within a row or two, wherever a period ends."""

    rows: tuple[int, ...]
    """Train rows of each source."""
    weights: tuple[float, ...]
    seed: int

    @cached_property
    def _rounded(self) -> Indices:
        """Rows of each source in a block, rounded so that they sum to it (largest remainder method)."""
        exact = np.array(self.weights) / sum(self.weights) * BLOCK
        quotas = np.floor(exact).astype(np.int64)
        neediest = np.argsort(quotas - exact, kind="stable")
        quotas[neediest[: BLOCK - quotas.sum()]] += 1
        return quotas

    @cached_property
    def period(self) -> int:
        """Blocks after which the shares are exact."""
        exact = np.array(self.weights) / sum(self.weights) * BLOCK
        return PERIOD if np.abs(self._rounded / exact - 1).max() <= TOLERANCE else 1

    def drawn(self, blocks: int) -> Indices:
        """How often each source is drawn in the first `blocks` blocks."""
        periods, rest = divmod(blocks, self.period)
        return _exact(self.weights, periods * self.period * BLOCK) + rest * self._rounded

    def position(self, source: int, draw: int) -> int:
        """Where a source is drawn for the so-manyth time, counted from 0."""
        beyond = next(2**power for power in count() if self.drawn(2**power)[source] > draw)
        block = bisect_right(range(beyond), draw, key=lambda blocks: self.drawn(blocks)[source]) - 1
        sources, draws = _block(self, block)
        return block * BLOCK + int(np.flatnonzero((sources == source) & (draws == draw))[0])

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
        first, last = int(positions[0]) // BLOCK, int(positions[-1]) // BLOCK
        blocks = [_block(self, block) for block in range(first, last + 1)]
        inside = positions - first * BLOCK
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


@lru_cache(maxsize=64)
def _exact(weights: tuple[float, ...], positions: int) -> Indices:
    """Rows of each source in the first `positions`. The smallest takes its rounded share first, then the next one of
    what is left, and so on: each is exact to within a row or two, and has never fewer rows of more positions."""
    counts, left, weight = np.zeros(len(weights), np.int64), positions, sum(map(Fraction, weights))
    for source in sorted(range(len(weights)), key=weights.__getitem__):
        counts[source] = share = round(left * Fraction(weights[source]) / weight)
        left, weight = left - share, weight - Fraction(weights[source])
    return counts


@lru_cache(maxsize=16)
def _block(plan: RowPlan, block: int) -> tuple[Indices, Indices]:
    """The source at each of a block's positions, and how often it was drawn before."""
    before, after = plan.drawn(block), plan.drawn(block + 1)
    in_order = np.repeat(np.arange(len(plan.rows)), after - before)
    sources = np.random.default_rng([plan.seed, block]).permutation(in_order)
    draws = np.empty(BLOCK, np.int64)
    for source in range(len(plan.rows)):
        draws[sources == source] = np.arange(before[source], after[source])
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
