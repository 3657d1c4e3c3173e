"""A sweep without training: recorded or made-up learning curves replayed through the real searcher and policy.

No cluster and no clock: time is counted in steps, and workers take turns as if every step took equally long.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import optuna
from ray.tune.search import Searcher

from cogito_ray.records.record import Record
from cogito_ray.runtime.outcome import progress
from cogito_ray.runtime.searcher import OptunaSearcher
from cogito_ray.sweeps.domains import Sample
from cogito_ray.sweeps.spec import SweepSpec

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
class _Worker:
    name: str
    sample: Sample
    steps: int
    every: int
    step: int = 0


def simulate(sweep: SweepSpec, curves: Curves, *, workers: int, limit: int) -> list[Ended]:
    """Every trial in the order in which it ended, until the sweep is over or `limit` steps are spent."""
    searcher = OptunaSearcher(sweep, optuna.storages.InMemoryStorage(), Record())
    policy, ended, spent = sweep.policy(), list[Ended](), 0
    queue: list[tuple[int, int, _Worker]] = []
    for number in range(workers):
        if worker := _next(searcher, f"{number}"):
            heapq.heappush(queue, (worker.every, number, worker))
    while queue and spent < limit:
        now, number, worker = heapq.heappop(queue)
        done = min(worker.every, worker.steps - worker.step)
        worker.step, spent = worker.step + done, spent + done
        metrics = curves(worker.sample, worker.step)
        result, last = progress(worker.step, metrics), worker.step == worker.steps
        if policy.report(worker.name, worker.step, metrics).keep and not last:
            searcher.on_trial_result(worker.name, result)
        else:
            searcher.on_trial_complete(worker.name, result)
            ended.append(Ended(worker.sample, worker.step, last, metrics, spent))
            following = _next(searcher, f"{len(ended)} after {number}")
            if following is None:
                continue
            worker = following
        heapq.heappush(queue, (now + min(worker.every, worker.steps - worker.step), number, worker))
    return ended


def _next(searcher: OptunaSearcher, name: str) -> _Worker | None:
    config = searcher.suggest(name)
    if isinstance(config, str):
        assert config == Searcher.FINISHED
        return None
    training = config["run"]["training"]
    return _Worker(name, config["sample"], training["steps"], training["report_every"])
