"""Watches what a sweep spends while it runs, and asks its trials to pause when the budget is exhausted."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from cogito_ray.records.sweep_progress import spent
from cogito_ray.records.sweep_record import Record
from cogito_ray.runtime.control_files import raise_flag
from cogito_ray.runtime.tune.disk_quota_enforcement import CheckpointPruner
from cogito_ray.sweeps.budget_spec import HOUR_S, BudgetSpec, Reserved, Spent


class BudgetCallback(Callback):
    """Once something of the budget is exhausted, `preempt` is raised, which trials look for after each report."""

    def __init__(
        self,
        budget: BudgetSpec,
        record: Record,
        preempt: Path,
        end: Callable[[str], None],
        pruner: CheckpointPruner,
        spending: Callable[[BudgetSpec, Spent], None] = lambda budget, spent: None,
    ):
        """`record`: of the sweep just opened. `end`: told once what is exhausted, so that no further trial starts.
        `spending`: told the budget and what is spent of it, again and again."""
        self.budget, self._preempt, self._end, self._pruner = budget, preempt, end, pruner
        self._spending = spending
        self._before, self._alive_at = spent(record), record.spans[-1][1]
        self._running: dict[str, tuple[float, Reserved]] = {}
        """By name."""
        self.exhausted = ""
        """What of the budget is spent; empty while nothing is."""

    def change(self, budget: BudgetSpec) -> None:
        """This holds from now on."""
        self.budget, self._pruner.quota = budget, budget.disk_bytes
        self._pruner.look(self._running)

    def spent(self) -> Spent:
        """Until now."""
        now = time.time()
        held = [((now - began) / HOUR_S, reserved) for began, reserved in self._running.values()]
        return Spent(
            gpu_hours=self._before.gpu_hours + sum(hours * reserved.gpus for hours, reserved in held),
            cpu_hours=self._before.cpu_hours + sum(hours * reserved.cpus for hours, reserved in held),
            wall_s=self._before.wall_s + now - self._alive_at,
            disk_bytes=self._pruner.bytes,
        )

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Its time counts from now on."""
        self._settle(trial)  # one that is tried again, because its process died
        self._running[trial.config["trial"]] = time.time(), Reserved.by(trial.config["run"])

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Its time is spent; its checkpoints may be pruned."""
        self._settle(trial)
        self._pruner.look([trial.config["trial"], *self._running])

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The same."""
        self.on_trial_complete(iteration, trials, trial)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Tune's own loop."""
        self.look()

    def look(self) -> None:
        """Ends the sweep once something of the budget is spent."""
        self._spending(self.budget, spent := self.spent())
        if not self.exhausted and (exhausted := self.budget.exhausted(spent)):
            self.exhausted = exhausted
            self._end(exhausted)
            raise_flag(self._preempt, exhausted)

    def _settle(self, trial: Trial) -> None:
        """What a trial that runs no longer has spent is spent."""
        if (found := self._running.pop(trial.config["trial"], None)) is None:
            return
        began, reserved = found
        hours, before = (time.time() - began) / HOUR_S, self._before
        gpu_hours, cpu_hours = before.gpu_hours + hours * reserved.gpus, before.cpu_hours + hours * reserved.cpus
        self._before = Spent(gpu_hours, cpu_hours, before.wall_s)
