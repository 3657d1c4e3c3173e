"""Whose turn it is among a sweep's cells: they go round, and those in which nothing is left to run are passed over."""

from cogito_ray.base_spec import digest
from cogito_ray.sweeps.space.domains import Sample


class Cells:
    def __init__(self, cells: list[Sample], *, single: bool):
        """`single`: each is one point, so that a trial there exhausts it."""
        self._cells, self._single = cells, single
        self._index = {digest(cell): index for index, cell in enumerate(cells)}
        self._next, self._exhausted = 0, set[int]()

    def next(self) -> Sample | None:
        """None when nothing is left in any."""
        for turn in range(len(self._cells)):
            index = (self._next + turn) % len(self._cells)
            if index not in self._exhausted:
                return self._cells[index]
        return None

    def served(self, cell: Sample) -> None:
        """A trial was made there."""
        if self._single:
            self.exhausted(cell)
        self._next = (self._index[digest(cell)] + 1) % len(self._cells)

    def exhausted(self, cell: Sample) -> None:
        """Nothing is left to run there."""
        index = self._index[digest(cell)]
        self._exhausted.add(index)
        self._next = (index + 1) % len(self._cells)
