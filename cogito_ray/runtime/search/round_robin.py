"""Whose turn it is among a sweep's grid points: they go round, without those where nothing is left."""

from cogito_ray.base_spec import digest
from cogito_ray.sweeps.space.domains import Sample


class RoundRobin:
    """Time to find the next grows with the points passed over."""

    def __init__(self, points: list[Sample], *, single: bool):
        """`single`: each is one point, so that a trial there exhausts it."""
        self._grid, self._single = points, single
        self._index = {digest(point): index for index, point in enumerate(points)}
        self._next, self._exhausted = 0, set[int]()

    def __contains__(self, point: Sample) -> bool:
        return digest(point) in self._index

    def next(self) -> Sample | None:
        """None when nothing is left in any."""
        for turn in range(len(self._grid)):
            index = (self._next + turn) % len(self._grid)
            if index not in self._exhausted:
                return self._grid[index]
        return None

    def left(self, most: int) -> int:
        """Trials that may still be made, of so many."""
        points = len(self._grid) - len(self._exhausted)
        return min(most, points) if self._single or not points else most

    def served(self, point: Sample) -> None:
        """A trial was made there."""
        if self._single:
            self.exhausted(point)
        self._next = (self._index[digest(point)] + 1) % len(self._grid)

    def exhausted(self, point: Sample) -> None:
        """Nothing is left to run there."""
        index = self._index[digest(point)]
        self._exhausted.add(index)
        self._next = (index + 1) % len(self._grid)
