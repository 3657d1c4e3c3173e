"""What a sweep will cost, measured by two short measured runs. Pure."""

from dataclasses import asdict, dataclass
from math import ceil

from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.budget_spec import HOUR_S, Reserved, Spent
from cogito_ray.sweeps.disk_quota import least
from cogito_ray.sweeps.space.space_points import count
from cogito_ray.sweeps.statistics.early_stopping_work import further_runs, share_left
from cogito_ray.sweeps.sweep_spec import SweepSpec

GRID_VALUES = 5
"""A grid would take so many values of an axis that cannot be listed."""


@dataclass(frozen=True)
class Measured:
    """Of a run of a few steps, in a process of its own."""

    start_s: float
    """Before the first step: opening the text, building the model."""
    step_s: float
    report_s: float
    """One evaluation of the held-out rows."""
    checkpoint_bytes: int
    peak_bytes: int
    """Memory of the process at its largest."""
    gpu_peak_bytes: int = 0
    mfu: float = 0.0
    """The FLOPs that a step needs over what the device could do meanwhile."""
    data_wait_share: float = 0.0
    """Of a step's time."""


@dataclass(frozen=True)
class Corner:
    """One end of what trials cost."""

    run: RunSpec
    measured: Measured

    @property
    def seconds(self) -> float:
        """A whole trial, to its last step."""
        training, found = self.run.training, self.measured
        reports = ceil(training.steps / training.report_every)
        return found.start_s + training.steps * found.step_s + reports * found.report_s

    @property
    def disk_bytes(self) -> int:
        """What a trial leaves."""
        training, kept = self.run.training, self.run.training.checkpoints
        milestones = training.steps // kept.milestone_every if kept.milestone_every else 0
        return self.measured.checkpoint_bytes * (
            min(kept.keep, ceil(training.steps / training.checkpoint_every)) + milestones
        )


@dataclass(frozen=True)
class Range:
    """From what all trials like the cheapest corner come to, to what all like the dearest do."""

    low: float
    high: float

    def __mul__(self, factor: float) -> "Range":
        return Range(self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Forecast:
    """Of a sweep from its first trial to its last, with nothing done so far."""

    sweep: SweepSpec
    cheapest: Corner
    dearest: Corner
    at_once: int
    """Trials at a time."""
    note: str
    """On what text it was measured."""

    @property
    def trial_s(self) -> Range:
        """Seconds of one trial that runs to its last step."""
        return Range(self.cheapest.seconds, max(self.cheapest.seconds, self.dearest.seconds))

    @property
    def share(self) -> float:
        """Of all trials' steps that early stopping leaves to be done."""
        sweep, steps = self.sweep, self.dearest.run.training.steps
        return share_left(sweep.early_stopping, sweep.aim, steps, trials=sweep.budget.trials)

    @property
    def whole_trials(self) -> float:
        """The sweep's work, in trials that run to their end; further runs of finalists included."""
        trials, sweep = self.sweep.budget.trials, self.sweep
        return trials * self.share + further_runs(trials, goals=len(sweep.goals), seeds=sweep.seeds)

    @property
    def wall_s(self) -> Range:
        """From the first trial's start to the last one's end."""
        return self.trial_s * max(1.0, self.whole_trials / self.at_once)

    @property
    def cpu_hours(self) -> Range:
        """CPUs reserved, times how long."""
        return self.trial_s * (self.whole_trials * self._reserved.cpus / HOUR_S)

    @property
    def gpu_hours(self) -> Range:
        """GPUs reserved, times how long."""
        return self.trial_s * (self.whole_trials * self._reserved.gpus / HOUR_S)

    @property
    def grid_points(self) -> int:
        """How many trials the whole grid would take."""
        return grid_points(self.sweep)

    @property
    def grid_hours(self) -> Range:
        """Of GPUs, or of CPUs where none is reserved, for the whole grid without early stopping."""
        return self.trial_s * (self.grid_points * (self._reserved.gpus or self._reserved.cpus) / HOUR_S)

    @property
    def disk_bytes(self) -> float:
        """At most, without what `budget.disk` would prune."""
        return self.sweep.budget.trials * max(self.cheapest.disk_bytes, self.dearest.disk_bytes)

    @property
    def needed_bytes(self) -> int:
        """Of checkpoints, at any time: what `budget.disk` must hold."""
        largest = max(self.cheapest.measured.checkpoint_bytes, self.dearest.measured.checkpoint_bytes)
        trials, steps = self.sweep.budget.trials, self.dearest.run.training.steps
        held = self.sweep.early_stopping.held(steps, trials=trials, at_once=self.at_once)
        return least(largest, at_once=self.at_once, trials=trials, held=held)

    @property
    def memory_bytes(self) -> float:
        """Of all trials at a time, at most."""
        return self.at_once * max(self.cheapest.measured.peak_bytes, self.dearest.measured.peak_bytes)

    @property
    def cut(self) -> str:
        """What of the budget would be spent before the end if all trials were dear; empty if nothing."""
        spent = Spent(self.gpu_hours.high, self.cpu_hours.high, self.wall_s.high, self.needed_bytes)
        return self.sweep.budget.exhausted(spent)

    def figures(self) -> dict[str, object]:
        """The figures, for scripts."""
        ranges = ("trial_s", "wall_s", "cpu_hours", "gpu_hours", "grid_hours")
        sizes = ("disk_bytes", "needed_bytes", "memory_bytes")
        numbers = (*sizes, "share", "whole_trials", "grid_points", "at_once", "cut", "note")
        ends = {"cheapest": asdict(self.cheapest.measured), "dearest": asdict(self.dearest.measured)}
        return ends | {name: asdict(getattr(self, name)) for name in ranges} | {n: getattr(self, n) for n in numbers}

    @property
    def _reserved(self) -> Reserved:
        return Reserved.by(self.dearest.run.model_dump(mode="json"))


def grid_points(sweep: SweepSpec) -> int:
    """Every combination of every axis, GRID_VALUES of those that cannot be listed."""
    axes = sweep.search_space.ordered
    return count(axes, {path: domain.values() or range(GRID_VALUES) for path, domain in axes.items()})


def micro(run: RunSpec, *, steps: int) -> RunSpec:
    """One worker's share of `run`, for a few steps: reported half-way and at the end."""
    tree = run.model_dump(mode="json")
    few = {"steps": steps, "report_every": steps // 2, "checkpoint_every": steps, "checkpoints": {"keep": 1}}
    few |= {"guards": dict.fromkeys(tree["training"]["guards"])}        # two reports are too few for some of them
    share = {"batch": run.training.batch // run.sizes[-1], "micro_batch": run.micro_batch, "parallel": "ddp"}
    tree |= {"workers": 1, "training": tree["training"] | few | share}
    return RunSpec.model_validate(tree)
