"""How many trials machines hold at once: counted machine by machine, for no worker stands on two. Pure."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from cogito_ray.run_spec import RunSpec

DRIVER_CPUS = 0.01
"""Reserved for a process that only waits for its workers (Ray refuses 0)."""
SPARE_CPUS = 1
"""Never given to trials: drivers and data tasks need room, or everything waits for everything, without a word."""
EXACT = 1e-6
"""Amounts are sums of fractions, computed inexactly."""


class NoRoom(ValueError):
    """The cluster cannot hold what was asked of it."""


@dataclass(frozen=True)
class Machine:
    """What one machine has free."""

    cpus: float
    gpus: float = 0.0
    labels: frozenset[tuple[str, str]] = frozenset()

    def __str__(self) -> str:
        return ", ".join([f"{self.cpus:g} CPU", f"{self.gpus:g} GPU", *_named(self.labels)])


@dataclass(frozen=True)
class Shape:
    """What a trial reserves: so many equal workers, each on one machine, all of them at once."""

    workers: int
    cpus: float
    gpus: float
    labels: frozenset[tuple[str, str]]
    waits: bool
    """Does another process wait for the workers, which Tune reserves a place for?"""

    @classmethod
    def of(cls, run: RunSpec, *, in_sweep: bool = True) -> "Shape":
        """`in_sweep`: is it a trial, for which another process waits where it has several workers?"""
        labels, waits = frozenset(run.labels.items()), in_sweep and run.sizes[-1] > 1
        return cls(run.sizes[0], run.cpus_per_worker, run.gpus_per_worker, labels, waits)

    def __str__(self) -> str:
        each = f"{self.workers} worker{'s' if self.workers > 1 else ''} with {self.cpus:g} CPU, {self.gpus:g} GPU"
        return f"{each} on machines labelled {', '.join(_named(self.labels))}" if self.labels else each


def room(machines: Sequence[Machine], shapes: Collection[Shape]) -> int:
    """How many trials fit at once, whichever of these shapes they have."""
    return min(_room(machines, shape) for shape in shapes)


def refusal(machines: Sequence[Machine], shapes: Collection[Shape], wanted: int) -> NoRoom:
    """Why so many trials of these shapes do not fit, and what to do."""
    tightest = min(shapes, key=lambda shape: _room(machines, shape))
    asked = {key for key, _ in tightest.labels}     # of a machine's labels only these matter, and Ray adds its own
    seen = (replace(one, labels=frozenset(pair for pair in one.labels if pair[0] in asked)) for one in machines)
    alike = Counter(map(str, seen)).most_common()
    there = "; ".join(f"{count} x ({what})" for what, count in alike) or "no machine"
    return NoRoom(
        f"{wanted} trial(s) at once, each of {tightest}: {_room(machines, tightest)} would fit on what is free, which "
        f"is {there}. No worker stands on two machines, and {SPARE_CPUS} CPU is kept for drivers and data. Lower "
        "concurrency, workers, cpus_per_worker or gpus_per_worker, wait for other jobs, or join a larger cluster"
    )


def _named(labels: Collection[tuple[str, str]]) -> list[str]:
    return [f"{key}={value}" for key, value in sorted(labels)]


def _room(machines: Sequence[Machine], shape: Shape) -> int:
    places = [machine for machine in machines if shape.labels <= machine.labels]
    held = [_workers(machine, shape) for machine in places]
    spared = (sum(machine.cpus for machine in machines) - SPARE_CPUS) / (shape.workers * shape.cpus)
    most = max(0, min(sum(held) // shape.workers, int(spared + EXACT)))
    if not shape.waits:
        return most
    held_beside_drivers = [_workers(replace(machine, cpus=machine.cpus - DRIVER_CPUS), shape) for machine in places]
    lost = sum(held) - sum(held_beside_drivers)  # machines on which the process that waits takes a worker's place
    return next(trials for trials in range(most, -1, -1) if sum(held) - min(trials, lost) >= trials * shape.workers)


def _workers(machine: Machine, shape: Shape) -> int:
    """As many as one machine holds. A share of a GPU is a share of one device."""
    fits = int(machine.cpus / shape.cpus + EXACT)
    if 0 < shape.gpus < 1:
        devices = int(machine.gpus + EXACT)
        on_devices = devices * int(1 / shape.gpus + EXACT) + int((machine.gpus - devices) / shape.gpus + EXACT)
        return min(fits, on_devices)
    return min(fits, int(machine.gpus / shape.gpus + EXACT)) if shape.gpus else fits
