"""Serves the figures of `metrics_table` through Ray: whoever writes the ledger tells what happens, and a thread exports
what holds now. A report costs as much as it has metrics, whatever came before; a trial's series end with it.
"""

import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Self, get_args

import ray
from ray.util import metrics as ray_metrics

from cogito_ray.records.ledger import Event, Reported, Status, TrialEnded, TrialPaused, TrialStarted
from cogito_ray.records.monitoring.metrics_table import BY_NAME, Labels, Metric, of_report
from cogito_ray.records.sweep_record import Record
from cogito_ray.sweeps.budget_spec import HOUR_S, BudgetSpec, Spent
from cogito_ray.sweeps.space.dotted_paths import get
from cogito_ray.training.guards import Guard

RUNNING, WAITING = "running", "waiting"
STATES = (RUNNING, WAITING, Status.COMPLETED, Status.STOPPED, Status.FAILED)
CAUSES = frozenset(guard.cause for guard in get_args(Guard))
Value = tuple[str, float, Labels]
"""Of a metric, by name; with its labels after the experiment."""


@cache
def _instrument(metric: Metric) -> ray_metrics.Gauge | ray_metrics.Counter | ray_metrics.Histogram:
    """One a process."""
    told = (metric.emitted, metric.help)
    if metric.kind == "histogram":
        return ray_metrics.Histogram(*told, boundaries=list(metric.buckets), tag_keys=metric.labels)
    kind = ray_metrics.Counter if metric.kind == "counter" else ray_metrics.Gauge
    return kind(*told, tag_keys=metric.labels)


def emit(name: str, value: float, *labels: str) -> None:
    """Set a gauge, add to a counter or observe for a histogram, from this process. Nothing where Ray is not there."""
    if not ray.is_initialized():
        return
    metric = BY_NAME[name]
    instrument, tags = _instrument(metric), dict(zip(metric.labels, labels, strict=True))
    match instrument:
        case ray_metrics.Gauge():
            instrument.set(value, tags)
        case ray_metrics.Counter():
            instrument.inc(value, tags)
        case ray_metrics.Histogram():
            instrument.observe(value, tags)


@dataclass
class _LiveTrial:
    """A trial that runs, as it is shown."""

    label: str
    steps: int
    told: float = field(default_factory=time.time)
    values: dict[tuple[str, Labels], float] = field(default_factory=dict)
    over: bool = False
    """It is shown once more."""

    def report(self, event: Reported) -> None:
        last, self.told = self.told, time.time()
        figures = {"step": event.step, "progress_share": event.step / self.steps if self.steps else 0.0}
        figures |= {"last_report_timestamp_seconds": self.told, "report_interval_seconds": self.told - last}
        self.values |= {(name, ()): value for name, value in figures.items()}
        self.values |= {(metric.name, labels): value for metric, labels, value in of_report(event.metrics)}


class MetricsExporter:
    """What one experiment shows, in a `with` block or until its process ends."""

    def __init__(self, experiment: str, folder: Path, known: Record | None = None):
        """`folder`: in which it is written. `known`: what was done before."""
        self._experiment, self._folder = experiment, folder
        self._budget: tuple[BudgetSpec, Spent] | None = None
        over = {name: trial.status if trial.end else WAITING for name, trial in (known.runs if known else {}).items()}
        self._states: dict[str, str] = dict(over)
        self._counts, self._live = Counter(over.values()), dict[str, _LiveTrial]()
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._export, daemon=True, name="metrics")
        self._thread.start()

    def __getstate__(self) -> dict[str, object]:
        """Nothing: Tune pickles into its folder whatever it is given, and the ledger is the state."""
        return {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self._closed.set()
        self._thread.join()

    def tell(self, event: Event) -> None:
        """What has just been written into the ledger."""
        with self._lock:
            match event:
                case TrialStarted():
                    steps = get(event.spec, "training.steps")
                    self._live[event.trial] = _LiveTrial(_label(event), steps if isinstance(steps, int) else 0)
                    self._move(event.trial, RUNNING)
                case Reported() if event.trial in self._live:
                    self._live[event.trial].report(event)
                case TrialPaused():
                    self._move(event.trial, WAITING)
                case TrialEnded():
                    self._move(event.trial, event.status)
                    if (cause := event.cause.partition(" at step ")[0]) in CAUSES:
                        emit("guard_kills", 1, self._experiment, cause)

    def rung(self, trial: str, steps: int) -> None:
        """The trial has come to a rung of early stopping."""
        with self._lock:
            if trial in self._live:
                self._live[trial].values["rung_steps", ()] = steps

    def spending(self, budget: BudgetSpec, spent: Spent) -> None:
        """So much of the budget is spent by now."""
        self._budget = budget, spent

    def _move(self, trial: str, state: str) -> None:
        if trial in self._states:
            self._counts[self._states[trial]] -= 1
        self._states[trial] = state
        self._counts[state] += 1
        if state != RUNNING and trial in self._live:
            self._live[trial].over = True

    def shown(self) -> list[Value]:
        """What is exported now. Trials that are over are not, from the next time on."""
        with self._lock:
            return [*self._trials(), *self._whole()]

    def _export(self) -> None:
        """Again and again: a gauge that is not set between two of Ray's exports is not there."""
        every_s = max(ray._config.metrics_report_interval_ms(), 1000) / 2000
        while True:
            last = self._closed.wait(every_s)
            for name, value, labels in self.shown():
                emit(name, value, self._experiment, *labels)
            if last:
                return

    def _trials(self) -> Iterator[Value]:
        for trial, live in list(self._live.items()):
            yield from ((name, value, (live.label, *labels)) for (name, labels), value in live.values.items())
            if live.over:
                del self._live[trial]

    def _whole(self) -> Iterator[Value]:
        """What is of no single trial."""
        yield from (("trials", self._counts[state], (state,)) for state in STATES)
        with suppress(OSError):
            disk = shutil.disk_usage(self._folder)
            yield from (("storage_free_bytes", disk.free, ()), ("storage_free_share", disk.free / disk.total, ()))
        if self._budget is None:
            return
        budget, spent = self._budget
        granted = budget.hours(spent)
        hours = {"gpu_hours": spent.gpu_hours, "cpu_hours": spent.cpu_hours, "wall": spent.wall_s / HOUR_S}
        shares = {name: used / limit for name, (used, limit) in granted.items()}
        if budget.disk_bytes:
            shares["disk"] = spent.disk_bytes / budget.disk_bytes
        yield "trials_planned", budget.trials, ()
        yield from (("budget_spent_hours", value, (name,)) for name, value in hours.items())
        yield from (("budget_left_hours", limit - used, (name,)) for name, (used, limit) in granted.items())
        yield from (("budget_spent_share", share, (name,)) for name, share in shares.items())


def _label(event: TrialStarted) -> str:
    """A trial's number, which reports name it by; of a further run of it, with the beginning of its own name."""
    return str(event.number) if event.replicates is None else f"{event.number}-{event.trial[:6]}"
