"""A search as Tune drives it, without a cluster, with the events of its ledger in a list."""

from pathlib import Path

from cogito_ray.records.ledger import FORMAT, SweepOpened
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.sweep_record import fold
from cogito_ray.runtime.search.searcher import Search
from cogito_ray.runtime.trial_recorder import TrialRecorder
from cogito_ray.runtime.trial_report_messages import progress
from cogito_ray.text.data_digests import DataDigests
from cogito_ray.text.data_spec import corpus_key

ORIGIN = Provenance(commit=None, dirty=False, versions={}, host="here")


READ = DataDigests("0a" * 6, {"docs": "1b" * 6})


def opening(spec, read=READ):
    data = {corpus_key(corpus): read for corpus in spec.search_space.corpora()}
    return SweepOpened(at=0, spec=spec.model_dump(mode="json"), sweep="s", provenance=ORIGIN, format=FORMAT, data=data)


class Driven:
    """One start of a driver; another one given its `log` goes on from there."""

    def __init__(self, spec, log=(), read=READ, **more):
        self.log = [*log, opening(spec, read)]
        recorder = TrialRecorder(self.log.append, Path("nowhere"), fold(self.log))
        self.search = Search(spec, recorder, list(self.log), **more)
        self.configs = {}

    @property
    def trials(self):
        return self.search.trials

    @property
    def exhausted(self):
        return self.search.exhausted

    def suggest(self, name):
        """What is handed out under Tune's own name, and starts at once."""
        config = self.search.suggest()
        if isinstance(config, dict):
            self.configs[name] = config
            self.search.started(config)
        return config

    def report(self, name, step, metrics):
        return self.search.report(self.configs[name], progress(step, metrics))

    def end(self, name, result, *, error=False):
        self.search.ended(self.configs[name], result, error=error)
