"""What a sweep may spend, and what of it is gone. Pure; durations and sizes are written as people write them."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt

from cogito_ray.base_spec import Spec
from cogito_ray.sweeps.space.dotted_paths import Tree, get

if TYPE_CHECKING:
    from cogito_ray.run_spec import RunSpec

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
HOUR_S = SECONDS["h"]
PEAK = "memory/peak_gb"
"""Metric of every report: the most that its worker has held, in 1e9 bytes."""
BYTES = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def seconds(text: object) -> float:
    """'1h30m' -> 5400. Raises ValueError."""
    return _measured(text, SECONDS, "duration; write 8h, 90m, 1h30m or 45s")


def duration(seconds: float) -> str:
    """3661 -> 1 h 1 min."""
    hours, minutes = divmod(round(seconds / 60), 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def size(text: object) -> float:
    """'20GB' -> 2e10 bytes. Raises ValueError."""
    return _measured(text, BYTES, "size; write 20GB, 500MB or 1.5TiB")


def _measured(text: object, units: Mapping[str, float], wanted: str) -> float:
    part = rf"(\d+(?:\.\d+)?) ?({'|'.join(units)})"
    if not isinstance(text, str) or not re.fullmatch(rf"({part} ?)+", text):
        raise ValueError(f"{text!r} is no {wanted}")
    amount = sum(float(number) * units[unit] for number, unit in re.findall(part, text))
    if not amount:
        raise ValueError(f"{text!r} is nothing, and no {wanted}")
    return amount


def _checked(parse: Callable[[object], float]) -> BeforeValidator:
    def keep(text: object) -> object:
        parse(text)
        return text

    return BeforeValidator(keep)


DurationText = Annotated[str, _checked(seconds), Field(examples=["8h", "1h30m"])]
SizeText = Annotated[str, _checked(size), Field(examples=["20GB"])]


@dataclass(frozen=True)
class Spent:
    """By all trials of a sweep, over all its starts."""

    gpu_hours: float = 0.0
    """GPUs reserved, times how long."""
    cpu_hours: float = 0.0
    wall_s: float = 0.0
    """While a driver ran."""
    disk_bytes: float = 0.0
    """Of checkpoints that are needed."""


STEERED = ("trials", "gpu_hours", "cpu_hours", "wall", "disk")
"""What of a budget may be changed while the sweep runs."""


class BudgetSpec(Spec):
    """When any of it is spent, no further trial starts; those that run leave a checkpoint after their next report. The
    sweep goes on from there when it is started again with more, under the same name."""

    trials: PositiveInt
    """Trials started, those that are stopped early or fail included. Not counted are further runs of finalists, nor the
    copies that take the places of stopped trials where early_stopping.kind is population."""
    gpu_hours: PositiveFloat | None = None
    """GPUs reserved, times how long, over all trials and all starts of the sweep."""
    cpu_hours: PositiveFloat | None = None
    """The same of CPUs."""
    wall: DurationText | None = None
    """Time while the sweep runs, over all its starts."""

    disk: SizeText | None = None
    """For the checkpoints of all trials together. Those of failed and stopped trials go first, then those of trials
    that others beat; what the best or a resume needs is never deleted."""

    memory: SizeText | None = None
    """That a worker of a trial may take, such as 22GB of a GPU of 24. Points that would take more, as far as their
    shapes and the trials before tell, are not started, and told to the sampler as infeasible. What takes as much as a
    trial that ran out of memory is never started."""

    @property
    def memory_bytes(self) -> float | None:
        """The bound of each worker; None = none."""
        return size(self.memory) if self.memory else None

    @property
    def disk_bytes(self) -> float | None:
        """The bound of all checkpoints together; None = none."""
        return size(self.disk) if self.disk else None

    def exhausted(self, spent: Spent) -> str:
        """What of it is spent, in words; empty while nothing is."""
        said = [
            f"budget.{name}: {used:.4g} of {limit:.4g} hours are used"
            for name, (used, limit) in self.hours(spent).items()
            if used >= limit
        ]
        if self.disk_bytes is not None and spent.disk_bytes > self.disk_bytes:
            said.append(f"budget.disk: checkpoints that are needed take {spent.disk_bytes / 1e9:.3g} GB of {self.disk}")
        return "; ".join(said)

    def changed(self, changes: Iterable[str]) -> "BudgetSpec":
        """With `name=value` instead, or `name=+value` more; no name means `wall`. ValueError for what is neither."""
        tree: Tree = self.model_dump(mode="json")
        for change in changes:
            name, _, value = change.rpartition("=")
            name, more = name.strip().removeprefix("budget.") or "wall", value.strip().startswith("+")
            value = value.strip().removeprefix("+")
            if name not in STEERED:
                raise ValueError(f"{change!r}: of a sweep that runs, {', '.join(STEERED)} may be changed")
            if more and tree[name] is None:
                raise ValueError(f"{change!r}: budget.{name} has no limit that could be raised; write {name}={value}")
            if name == "wall":
                tree[name] = f"{seconds(value) + (seconds(tree[name]) if more else 0):.15g}s"
            elif name == "disk":
                tree[name] = f"{(size(value) + (size(tree[name]) if more else 0)) / BYTES['kB']:.15g}kB"
            else:
                amount = _amount(change, value) + (_amount(change, str(tree[name])) if more else 0)
                tree[name] = int(amount) if name == "trials" else amount
        return BudgetSpec.model_validate(tree)

    def hours(self, spent: Spent) -> dict[str, tuple[float, float]]:
        """Of each limit in hours that is set, what is used and what is granted."""
        wall = seconds(self.wall) / HOUR_S if self.wall else None
        named = {
            "gpu_hours": (spent.gpu_hours, self.gpu_hours),
            "cpu_hours": (spent.cpu_hours, self.cpu_hours),
            "wall": (spent.wall_s / HOUR_S, wall),
        }
        return {name: (used, limit) for name, (used, limit) in named.items() if limit is not None}

    def faults(self, runs: Iterable["RunSpec"]) -> Iterator[str]:
        """What cannot take effect in a sweep of such runs."""
        if self.gpu_hours is not None and not any(run.gpus_per_worker for run in runs):
            yield "budget.gpu_hours: no trial reserves a GPU; set run.gpus_per_worker, or write cpu_hours"


def _amount(change: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"{change!r}: {value!r} is no number") from None


@dataclass(frozen=True)
class Reserved:
    """What a run holds while it is under way, used or not."""

    cpus: float
    gpus: float

    @classmethod
    def by(cls, run: Tree) -> "Reserved":
        """What a run (as a tree) holds while it is under way; a record that does not say held a CPU."""
        workers = _number(get(run, "workers"), _number(get(run, "workers.max"), 1.0))
        each = _number(get(run, "cpus_per_worker"), 1.0), _number(get(run, "gpus_per_worker"), 0.0)
        return cls(workers * each[0], workers * each[1])


def cost_metrics(run: Tree, seconds: float) -> dict[str, float]:
    """What a trial has cost so far, beside what it reports itself: `cost/gpu_hours` where it holds any."""
    gpus = Reserved.by(run).gpus
    return {"cost/wall_s": seconds} | ({"cost/gpu_hours": gpus * seconds / HOUR_S} if gpus else {})


def _number(found: object, unsaid: float) -> float:
    return float(found) if isinstance(found, int | float) else unsaid
