"""The treasurer, told what Tune tells its callbacks: no cluster."""

import time

import pytest
from ray.tune.experiment import Trial

from cogito_ray.records.ledger import NAME, Ledger, SweepOpened
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.record import read
from cogito_ray.runtime.pruner import Pruner
from cogito_ray.runtime.treasurer import Treasurer
from cogito_ray.sweeps.budget import BudgetSpec


@pytest.fixture
def treasurer_of(tmp_path):
    """Makes a treasurer of a sweep opened `ago` seconds ago: (treasurer, its file, how often it ended the search)."""

    def made(budget, ago=0.0):
        origin = Provenance(commit=None, dirty=False, versions={}, host="here")
        with Ledger(tmp_path / NAME) as ledger:
            ledger.append(SweepOpened(at=time.time() - ago, spec={}, sweep="s", provenance=origin))
            pruner, ends = Pruner(ledger, tmp_path / "trials", None), []
        leave = tmp_path / "trials" / "leave"
        spec = BudgetSpec(trials=4, **budget)
        return Treasurer(spec, read(tmp_path / NAME), leave, lambda: ends.append(1), pruner), leave, ends

    return made


def trial(**run):
    return Trial("trial", config={"trial": "a", "run": run}, stub=True)


def test_while_there_is_some_left_nobody_is_asked_to_leave(treasurer_of):
    treasurer, leave, ends = treasurer_of({"wall": "1h", "cpu_hours": 1}, ago=60)
    treasurer.on_trial_start(0, [], trial(workers=2))
    treasurer.on_step_end(1, [])
    assert (treasurer.gone, ends, leave.exists()) == ("", [], False)


def test_once_it_is_gone_the_search_ends_once_and_trials_find_the_file(treasurer_of):
    treasurer, leave, ends = treasurer_of({"wall": "1m"}, ago=61)
    treasurer.on_step_end(1, [])
    treasurer.on_step_end(2, [])
    assert ends == [1]
    assert leave.read_text() == treasurer.gone
    assert treasurer.gone.startswith("budget.wall")


def test_trials_that_run_are_counted_with_all_that_they_hold_and_once(treasurer_of):
    treasurer, _, _ = treasurer_of({})
    one = trial(workers=4, cpus_per_worker=2.0, gpus_per_worker=0.5)
    treasurer.on_trial_start(0, [], one)
    time.sleep(0.2)
    treasurer.on_trial_start(1, [], one)  # its process died, and it is tried again
    treasurer.on_trial_complete(2, [], one)
    treasurer.on_trial_error(3, [], one)
    spent = treasurer.spent()
    assert spent.cpu_hours == pytest.approx(8 * 0.2 / 3600, rel=0.3)
    assert spent.cpu_hours == pytest.approx(4 * spent.gpu_hours)
    assert treasurer.spent().cpu_hours == spent.cpu_hours  # over is over
