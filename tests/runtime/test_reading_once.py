"""One record a process: what a ledger says is read and folded once, however many trials and whoever asks."""

from pathlib import Path

import pytest
from corpora import unread_run

from cogito_ray.display import result_tables
from cogito_ray.records.ledger import NAME, Ledger, SweepOpened
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.results.trial_ranking import rank
from cogito_ray.records.sweep_record import SharedRecord
from cogito_ray.runtime.experiment_folder import ExperimentFolder
from cogito_ray.runtime.search.searcher import Search
from cogito_ray.runtime.trial_recorder import TrialRecorder, progress
from cogito_ray.runtime.tune.disk_quota_enforcement import CheckpointPruner
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.testing.search_driver import opening


class Counted:
    """A file that says how much of it was read."""

    def __init__(self, file, total):
        self.file, self.total = file, total

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.file.close()

    def seek(self, *place):
        return self.file.seek(*place)

    def read(self):
        found = self.file.read()
        self.total.append(len(found))
        return found


@pytest.fixture
def read_bytes(monkeypatch):
    """Of ledgers, at each time that one was read."""
    total, opened = [], Path.open

    def counting(path, *args, **options):
        file = opened(path, *args, **options)
        return Counted(file, total) if path.name == NAME else file

    monkeypatch.setattr(Path, "open", counting)
    return total


def spec(trials):
    goals = [{"metric": "eval/reconstruction_nats", "mode": "min"}]
    space = {"seed": {"randint": [0, 999]}}
    run = unread_run(steps=20, report_every=10)
    return SweepSpec.model_validate(
        {"name": "s", "run": run, "space": space, "goals": goals, "search": {"sampler": "random"}}
        | {"budget": {"trials": trials, "disk": "1GB"}}
    )


@pytest.mark.parametrize("trials", [4, 16])
def test_a_sweep_reads_its_ledger_once_though_table_pruning_and_ranking_look_at_every_event(
    tmp_path, read_bytes, trials
):
    experiment = ExperimentFolder.of_sweep(spec(trials), tmp_path)
    with Ledger(experiment.ledger) as ledger:
        pruner = CheckpointPruner(ledger, experiment.record, experiment.folder / "trials", 1e9)

        def append(event):
            ledger.append(event)
            pruner.look()
            with experiment.record.now() as known:
                if known.trials:
                    result_tables.live(known)
                assert rank(known) is rank(known)

        append(experiment.opening(opening(spec(trials)).data))
        recorder = TrialRecorder(append, experiment.folder, experiment.recorded())
        search = Search(spec(trials), recorder, list(experiment.now.events))
        while isinstance(config := search.suggest(), dict):
            search.started(config)
            for step in (10, 20):
                search.report(config, result := progress(step, {"eval/reconstruction_nats": 5.0}))
            search.ended(config, result)
        assert len(experiment.recorded().trials) == trials
    assert sum(read_bytes) == experiment.ledger.stat().st_size


def test_no_event_is_parsed_twice(tmp_path):
    experiment = ExperimentFolder.of_sweep(spec(4), tmp_path)
    with Ledger(experiment.ledger) as ledger:
        seen = []
        for _ in range(3):
            ledger.append(experiment.opening())
            assert all(old is now for old, now in zip(seen, experiment.now.events, strict=False))
            seen = list(experiment.now.events)
    assert len(seen) == 3


def test_what_another_process_appends_is_seen(tmp_path):
    origin = Provenance(commit=None, dirty=False, versions={}, host="here")
    opened = SweepOpened(at=0.0, spec={"goals": []}, sweep="s", provenance=origin)
    record = SharedRecord(tmp_path / NAME)
    with pytest.raises(FileNotFoundError), record.now():
        pass
    for count in (1, 2):
        with Ledger(tmp_path / NAME) as theirs:
            theirs.append(opened)
        with record.now() as known:
            assert len(known.openings) == count
