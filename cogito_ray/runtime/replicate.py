"""Runs finalists again under other seeds, once the search is over: further trials of the same sweep."""

from collections import deque
from typing import Any

from ray.tune.search import Searcher

from cogito_ray.records.ranking import rank
from cogito_ray.records.record import Record
from cogito_ray.run import RunSpec
from cogito_ray.sweeps.replication import finalists, other_seeds
from cogito_ray.sweeps.spec import SweepSpec


def further_runs(sweep: SweepSpec, record: Record) -> list[dict[str, Any]]:
    """What is left to be run again, each as Tune's configuration of a trial."""
    ranking = rank(Record(openings=record.openings, trials=record.trials))  # by the runs that the search made
    ranked = [row.trial for row in ranking.rows if row.rank is not None]
    front = [row.trial for row in ranking.best] if len(sweep.goals) > 1 else []
    asked = []
    for name in finalists(ranked, front):
        first = record.trials[name]
        run = RunSpec.model_validate(first.spec)
        for seed in other_seeds(run.seed, sweep.seeds):
            again = run.model_copy(update={"seed": seed})
            known = record.replicates.get(again.digest())
            if known is None or known.end is None:
                tree = again.model_dump(mode="json")
                numbered = {"trial": again.digest(), "number": first.number, "sample": first.sample, "run": tree}
                asked.append(numbered | {"replicates": name})
    return asked


class Listed(Searcher):
    """Hands out what is listed, in its order, and learns nothing."""

    def __init__(self, configs: list[dict[str, Any]]):
        super().__init__()
        self._left = deque(configs)
        self._over = False

    @property
    def exhausted(self) -> bool:
        return not self._left

    def sources(self, record: Record) -> set[tuple[str, int]]:
        """Nothing is copied."""
        return set()

    def end(self) -> None:
        """Hand out nothing more, though something may be left."""
        self._over = True

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # type: ignore[override]  # Ray forgot FINISHED
        return str(Searcher.FINISHED) if self._over or not self._left else self._left.popleft()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The ledger has it."""

    def save(self, checkpoint_path: str) -> None:
        """The ledger is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """The ledger is the state."""
