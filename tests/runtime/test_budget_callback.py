"""The treasurer, told what Tune tells its callbacks: no cluster."""

import time

import pytest
from ray.tune.experiment import Trial

from cogito_ray.records.ledger import NAME, Ledger, SweepOpened, TrialEnded, TrialStarted
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.sweep_record import SharedRecord, read
from cogito_ray.runtime.tune.budget_callback import BudgetCallback
from cogito_ray.runtime.tune.disk_quota_enforcement import CheckpointPruner
from cogito_ray.sweeps.budget_spec import BudgetSpec

SPEC = {"goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}], "space": {}}


@pytest.fixture
def treasurer_of(tmp_path):
    """Makes a treasurer of a sweep opened `ago` seconds ago: (treasurer, its file, how often it ended the search)."""

    def made(budget, ago=0.0):
        origin = Provenance(commit=None, dirty=False, versions={}, host="here")
        with Ledger(tmp_path / NAME) as ledger:
            ledger.append(SweepOpened(at=time.time() - ago, spec=SPEC, sweep="s", provenance=origin))
        leave, ends = tmp_path / "trials" / "leave", []
        spec = BudgetSpec(trials=4, **budget)
        pruner = CheckpointPruner(ledger, SharedRecord(ledger.path), tmp_path / "trials", spec.disk_bytes)
        return BudgetCallback(spec, read(tmp_path / NAME), leave, ends.append, pruner), leave, ends

    return made


def trial(**run):
    return Trial("trial", config={"trial": "a", "run": run}, stub=True)


def test_while_there_is_some_left_nobody_is_asked_to_leave(treasurer_of):
    treasurer, leave, ends = treasurer_of({"wall": "1h", "cpu_hours": 1}, ago=60)
    treasurer.on_trial_start(0, [], trial(workers=2))
    treasurer.on_step_end(1, [])
    assert (treasurer.exhausted, ends, leave.exists()) == ("", [], False)


def test_once_it_is_gone_the_search_ends_once_and_trials_find_the_file(treasurer_of):
    treasurer, leave, ends = treasurer_of({"wall": "1m"}, ago=61)
    treasurer.on_step_end(1, [])
    treasurer.on_step_end(2, [])
    assert ends == [treasurer.exhausted]
    assert leave.read_text() == treasurer.exhausted
    assert treasurer.exhausted.startswith("budget.wall")


EIGHT_CPUS = {"workers": 4, "cpus_per_worker": 2.0, "gpus_per_worker": 0.5}


@pytest.fixture
def clock(monkeypatch):
    """Sets the time, in hours after a beginning."""
    began = time.time()

    def at(hours):
        monkeypatch.setattr(time, "time", lambda: began + hours * 3600)

    at(0)
    return at


def test_trials_that_run_are_counted_with_all_that_they_hold(treasurer_of, clock):
    treasurer, _, _ = treasurer_of({})
    treasurer.on_trial_start(0, [], trial(**EIGHT_CPUS))
    clock(2)
    spent = treasurer.spent()
    assert (spent.cpu_hours, spent.gpu_hours, spent.wall_s) == pytest.approx((16, 4, 7200))


@pytest.mark.parametrize("end", ["on_trial_complete", "on_trial_error", "on_trial_start"])
def test_a_trial_that_ends_however_or_starts_anew_has_spent_what_it_held_and_spends_no_more(treasurer_of, clock, end):
    treasurer, _, _ = treasurer_of({})
    one = trial(**EIGHT_CPUS)
    treasurer.on_trial_start(0, [], one)
    clock(1)
    getattr(treasurer, end)(1, [], one)  # started again: its process died
    if end == "on_trial_start":
        clock(2)
        treasurer.on_trial_complete(2, [], one)
    spent = treasurer.spent()
    assert spent.cpu_hours == pytest.approx(16 if end == "on_trial_start" else 8)
    assert spent.cpu_hours == pytest.approx(4 * spent.gpu_hours)
    clock(9)
    assert treasurer.spent().cpu_hours == spent.cpu_hours
    assert treasurer.spent().wall_s == pytest.approx(9 * 3600)


def test_what_earlier_starts_spent_counts(treasurer_of, clock, tmp_path):
    treasurer_of({})
    with Ledger(tmp_path / NAME) as ledger:
        ledger.append(TrialStarted(at=time.time(), trial="a", number=0, sample={}, spec=EIGHT_CPUS))
        ledger.append(TrialEnded(at=time.time() + 3600, trial="a", status="failed", step=0))
    clock(5)
    treasurer, _, _ = treasurer_of({})
    clock(6)
    spent = treasurer.spent()
    assert (spent.cpu_hours, spent.gpu_hours, spent.wall_s) == pytest.approx((8, 2, 7200))


@pytest.mark.parametrize("end", ["on_trial_complete", "on_trial_error"])
def test_when_a_trial_ends_the_disk_is_looked_at_and_checkpoints_count(treasurer_of, tmp_path, end):
    treasurer, leave, ends = treasurer_of({"disk": "1kB"})
    with Ledger(tmp_path / NAME) as ledger:
        ledger.append(TrialStarted(at=time.time(), trial="a", number=0, sample={}, spec={}))
    folder = tmp_path / "trials" / "a" / "checkpoints" / "step-00000010"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"x" * 1001)
    treasurer.on_step_end(0, [])
    assert ends == []
    getattr(treasurer, end)(0, [], trial())
    treasurer.on_step_end(1, [])
    assert treasurer.spent().disk_bytes == 1001
    assert ends == [treasurer.exhausted]
    assert leave.read_text().startswith("budget.disk")
