"""A sweep without training: recorded or made-up learning curves replayed through the real search and policy.

No cluster and no clock: time is counted in steps, and workers take turns as if every step took equally long.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cogito_ray.records.ledger import Event, TrialEnded
from cogito_ray.runtime.search.searcher import Search
from cogito_ray.runtime.trial_recorder import Config, TrialRecorder, paused, progress
from cogito_ray.sweeps.early_stopping.policy import Policy
from cogito_ray.sweeps.space.domains import Sample
from cogito_ray.sweeps.sweep_spec import SweepSpec

Curves = Callable[[Sample, int], dict[str, float]]
"""What a run with this sample measures after so many steps."""


@dataclass(frozen=True)
class Ended:
    """One trial of a simulated sweep."""

    sample: Sample
    step: int
    completed: bool
    metrics: dict[str, float]
    spent: int
    """Steps that all workers together had done by then."""


@dataclass
class _Under:
    """A trial under way, or one that waits."""

    config: Config
    steps: int
    every: int
    step: int = 0

    @property
    def stride(self) -> int:
        """Steps to its next report."""
        return min(self.every, self.steps - self.step)


def simulate(
    sweep: SweepSpec, curves: Curves, *, workers: int, limit: int, policy: Policy | None = None
) -> list[Ended]:
    """Every trial in the order in which it ended, until the sweep is over or `limit` steps are spent.

    `policy`: another than the sweep's own.
    """
    played = _Played(sweep, curves, policy)
    while played.spent < limit and played.start(workers):
        played.report()
    return played.ended


class _Played:
    """A sweep whose workers take turns."""

    def __init__(self, sweep: SweepSpec, curves: Curves, policy: Policy | None):
        self.curves, self.now = curves, 0
        self.search = Search(sweep, TrialRecorder(self._record, Path()), policy=policy)
        self.trials: dict[str, _Under] = {}
        self.queue: list[tuple[int, int, _Under]] = []
        """(time of its next report, number of its start, trial) of each worker."""
        self.ended, self.spent, self.starts = list[Ended](), 0, 0

    def start(self, workers: int) -> bool:
        """Give idle workers something to do. Is anybody at work?"""
        while len(self.queue) < workers:
            config = self.search.suggest()
            if not isinstance(config, dict):
                break
            training, begun = config["run"]["training"], config["run"].get("branch", {"step": 0})["step"]
            fresh = _Under(config, training["steps"], training["report_every"], begun)
            self.search.started(config)
            self._go_on(self.trials.setdefault(config["trial"], fresh))
        return bool(self.queue)

    def report(self) -> None:
        """The next trial comes to its next report."""
        self.now, _, trial = heapq.heappop(self.queue)
        self.spent, trial.step = self.spent + trial.stride, trial.step + trial.stride
        result = progress(trial.step, self.curves(trial.config["sample"], trial.step))
        verdict = self.search.report(trial.config, result)
        if verdict.keep and trial.step < trial.steps:
            self._go_on(trial)
        else:
            self.search.ended(trial.config, paused(trial.step) if verdict.waits else result)

    def _go_on(self, trial: _Under) -> None:
        heapq.heappush(self.queue, (self.now + trial.stride, self.starts, trial))
        self.starts += 1

    def _record(self, event: Event) -> None:
        if isinstance(event, TrialEnded):
            sample = self.trials[event.trial].config["sample"]
            metrics = self.curves(sample, event.step)
            self.ended.append(Ended(sample, event.step, event.complete, metrics, self.spent))
