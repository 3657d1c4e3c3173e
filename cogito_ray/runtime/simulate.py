"""A sweep without training: recorded or made-up learning curves replayed through the real searcher and policy.

No cluster and no clock: time is counted in steps, and workers take turns as if every step took equally long.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import optuna

from cogito_ray.records.record import Record
from cogito_ray.runtime.outcome import leave, progress
from cogito_ray.runtime.searcher import OptunaSearcher
from cogito_ray.sweeps.asha import Verdict
from cogito_ray.sweeps.domains import Sample
from cogito_ray.sweeps.spec import SweepSpec
from cogito_ray.sweeps.stopping import Policy

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

    name: str
    sample: Sample
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
    played = _Played(sweep, curves, policy or sweep.policy())
    while played.spent < limit and played.start(workers):
        played.report()
    return played.ended


class _Played:
    """A sweep whose workers take turns."""

    def __init__(self, sweep: SweepSpec, curves: Curves, policy: Policy):
        self.curves, self.policy, self.now = curves, policy, 0
        storage = optuna.storages.InMemoryStorage()
        self.searcher = OptunaSearcher(sweep, storage, Record(), policy=self.policy, over=self._waited_in_vain)
        self.trials: dict[str, _Under] = {}
        self.queue: list[tuple[int, int, _Under]] = []
        """(time of its next report, number of its start, trial) of each worker."""
        self.ended, self.spent, self.starts = list[Ended](), 0, 0

    def start(self, workers: int) -> bool:
        """Give idle workers something to do. Is anybody at work?"""
        while len(self.queue) < workers:
            config = self.searcher.suggest(f"{self.starts}")
            if not isinstance(config, dict):
                break
            training, name = config["run"]["training"], config["trial"]
            begun = config["run"].get("branch", {"step": 0})["step"]
            fresh = _Under(name, config["sample"], training["steps"], training["report_every"], begun)
            self._go_on(self.starts, self.trials.setdefault(name, fresh))
            self.starts += 1
        return bool(self.queue)

    def report(self) -> None:
        """The next trial comes to its next report."""
        self.now, number, trial = heapq.heappop(self.queue)
        self.spent, trial.step = self.spent + trial.stride, trial.step + trial.stride
        metrics = self.curves(trial.sample, trial.step)
        result, last = progress(trial.step, metrics), trial.step == trial.steps
        verdict = self.policy.report(trial.name, trial.step, metrics)
        if last or not (verdict.keep or verdict.waits):
            self.searcher.on_trial_complete(f"{number}", result)
            self._end(trial, completed=last)
            return
        self.searcher.on_trial_result(f"{number}", result)
        if verdict.keep:
            self._go_on(number, trial)
        else:
            self.searcher.on_trial_complete(f"{number}", leave(trial.step))

    def _go_on(self, number: int, trial: _Under) -> None:
        heapq.heappush(self.queue, (self.now + trial.stride, number, trial))

    def _waited_in_vain(self, name: str, verdict: Verdict) -> None:
        self._end(self.trials[name], completed=False)

    def _end(self, trial: _Under, *, completed: bool) -> None:
        metrics = self.curves(trial.sample, trial.step)
        self.ended.append(Ended(trial.sample, trial.step, completed, metrics, self.spent))
