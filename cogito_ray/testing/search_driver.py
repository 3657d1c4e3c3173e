"""A search as Tune drives it, without a cluster, with the events of its ledger in a list."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from cogito_ray.records.ledger import FORMAT, Event, SweepOpened
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.sweep_record import fold
from cogito_ray.runtime.search.searcher import Search
from cogito_ray.runtime.trial_recorder import Config, TrialRecorder, progress
from cogito_ray.sweeps.early_stopping.policy import Verdict
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.text.data_digests import DataDigests
from cogito_ray.text.data_spec import corpus_key

ORIGIN = Provenance(commit=None, dirty=False, versions={}, host="here")
READ = DataDigests("0a" * 6, {"docs": "1b" * 6})


def opening(spec: SweepSpec, read: DataDigests = READ) -> SweepOpened:
    """What the ledger of a sweep begins with, whose corpora are all `read`."""
    data = {corpus_key(corpus): read for corpus in spec.search_space.corpora()}
    return SweepOpened(at=0, spec=spec.model_dump(mode="json"), sweep="s", provenance=ORIGIN, format=FORMAT, data=data)


class Driven:
    """One start of a driver; another one given its `log` goes on from there."""

    def __init__(
        self,
        spec: SweepSpec,
        log: Iterable[Event] = (),
        read: DataDigests = READ,
        *,
        written: Callable[[str, int], bool] = lambda trial, step: True,
    ):
        self.log: list[Event] = [*log, opening(spec, read)]
        recorder = TrialRecorder(self.log.append, Path("nowhere"), fold(self.log))
        self.search = Search(spec, recorder, list(self.log), written=written)
        self.configs: dict[str, Config] = {}

    @property
    def trials(self) -> list[FrozenTrial]:
        """As the study has them."""
        return self.search.trials

    @property
    def exhausted(self) -> bool:
        """Is there nothing left to do?"""
        return self.search.exhausted

    def suggest(self, name: str) -> Config | str | None:
        """What is handed out under Tune's own name, and starts at once."""
        config = self.search.suggest()
        if isinstance(config, dict):
            self.configs[name] = config
            self.search.started(config)
        return config

    def report(self, name: str, step: int, metrics: Mapping[str, float]) -> Verdict:
        """What a trial has measured."""
        return self.search.report(self.configs[name], progress(step, metrics))

    def end(self, name: str, result: Mapping[str, Any] | None, *, error: bool = False) -> None:
        """A trial runs no longer."""
        self.search.ended(self.configs[name], result, error=error)
