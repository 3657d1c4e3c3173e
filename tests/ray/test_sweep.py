import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import optuna
import psutil
import pytest
from corpora import prepared_run
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from cogito_ray.records.ledger import NAME, TrialEnded, TrialStarted, events
from cogito_ray.records.sweep_record import read
from cogito_ray.runtime.cluster import left_behind
from cogito_ray.runtime.experiment_folder import OtherSettings
from cogito_ray.runtime.trial_capacity import NoRoom
from cogito_ray.runtime.tune.sweep_driver import run_sweep
from cogito_ray.sweeps.budget_spec import BudgetSpec
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.yaml_io.yaml_writer import dump

pytestmark = [pytest.mark.usefixtures("ray_cluster")]


def tiny_run(folder, **training):
    """A run of 12 steps over a made-up corpus in `folder`."""
    run = prepared_run(folder)
    return run | {"training": run["training"] | {"steps": 12} | training}


def sweep_spec(folder, run=None, **changed):
    """A sweep of this run, or of a tiny one."""
    tree = {
        "name": "tiny",
        "run": run or tiny_run(folder),
        "space": {
            "objective.rate": {"uniform": [0.3, 0.7]},
            "training.optimizer.learning_rate": {"loguniform": [1e-4, 1e-2]},
        },
        "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
        "early_stopping": {"kind": "asha", "first_rung": 4, "eta": 2},
        "budget": {"trials": 5},
        "concurrency": 2,
    }
    return SweepSpec.model_validate(tree | changed)


def study_of(folder):
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    return optuna.load_study(study_name=None, storage=storage)


def ends(folder):
    return Counter(event.trial for event in events(folder / NAME) if isinstance(event, TrialEnded))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, ray_cluster):
    """A sweep that ran to its end: (spec, storage, record)."""
    storage = tmp_path_factory.mktemp("finished")
    spec = sweep_spec(storage)
    return spec, storage, run_sweep(spec, storage)


def test_every_trial_of_the_budget_ends_once(finished):
    spec, storage, record = finished
    assert len(record.trials) == spec.budget.trials
    assert {trial.status for trial in record.trials.values()} <= {"completed", "stopped"}
    assert set(ends(storage / "tiny").values()) == {1}


def test_a_completed_trial_reported_at_every_interval(finished):
    _, _, record = finished
    completed = [trial for trial in record.trials.values() if trial.status == "completed"]
    assert completed
    assert all([step for step, _ in trial.curve("loss/total")] == [2, 4, 6, 8, 10, 12] for trial in completed)


def test_the_study_is_told_the_truth(finished):
    _, storage, record = finished
    told = {trial.user_attrs["trial"]: trial for trial in study_of(storage / "tiny").trials}
    states = {"completed": TrialState.COMPLETE, "stopped": TrialState.PRUNED}
    for trial in record.trials.values():
        assert told[trial.id].state is states[trial.status]
        assert told[trial.id].intermediate_values == dict(trial.curve("eval/reconstruction_nats"))


def test_nothing_is_left_behind(finished):
    assert left_behind() == []


def test_a_complete_sweep_does_nothing_when_run_again(finished):
    spec, storage, record = finished
    before = (storage / "tiny" / NAME).read_bytes()
    assert run_sweep(spec, storage).trials.keys() == record.trials.keys()
    assert (storage / "tiny" / NAME).read_bytes() == before


def test_more_trials_under_the_same_name_are_added_to_a_complete_sweep(finished, tmp_path):
    spec, storage, first = finished
    shutil.copytree(storage, tmp_path, dirs_exist_ok=True)
    more = run_sweep(spec.model_copy(update={"budget": BudgetSpec(trials=spec.budget.trials + 1)}), tmp_path)
    assert more.is_complete
    assert list(more.trials)[:-1] == list(first.trials)


def test_a_changed_sweep_of_the_same_name_is_refused_with_the_difference(finished):
    spec, storage, _ = finished
    changed = spec.model_copy(update={"question": "another one?"})
    with pytest.raises(OtherSettings, match=r"question: '' -> another one\?"):
        run_sweep(changed, storage)


def test_a_grid_is_walked_once_and_no_further(tmp_path):
    spec = sweep_spec(
        tmp_path,
        space={"objective.rate": {"choice": [0.4, 0.6]}, "model.concepts": {"grid": [2, 4]}},
        search={"sampler": "grid"},
        early_stopping={"kind": "none"},
        budget={"trials": 4},
    )
    record = run_sweep(spec, tmp_path)
    seen = sorted((trial.sample["objective.rate"], trial.sample["model.concepts"]) for trial in record.trials.values())
    assert seen == [(0.4, 2), (0.4, 4), (0.6, 2), (0.6, 4)]
    assert {trial.status for trial in record.trials.values()} == {"completed"}


def test_a_trial_that_diverges_fails_alone_and_by_name(tmp_path):
    optimizer = {"preset": {"sound": {"learning_rate": 1e-3}, "wild": {"learning_rate": 1e30, "clip": 1e30}}}
    spec = sweep_spec(
        tmp_path,
        run=tiny_run(tmp_path, steps=4),
        space={"training.optimizer": optimizer},
        search={"sampler": "grid"},
        early_stopping={"kind": "none"},
        budget={"trials": 2},
    )
    record = run_sweep(spec, tmp_path)
    by_name = {trial.sample["training.optimizer"]: trial for trial in record.trials.values()}
    assert by_name["sound"].status == "completed"
    assert by_name["wild"].status == "failed"
    assert by_name["wild"].cause.startswith("non-finite at step 2")
    states = {trial.user_attrs["trial"]: trial.state for trial in study_of(tmp_path / "tiny").trials}
    assert states[by_name["wild"].id] is TrialState.FAIL


def test_trials_of_two_workers_run_inside_a_sweep(tmp_path):
    run = tiny_run(tmp_path) | {"workers": 2}
    spec = sweep_spec(tmp_path, run, budget={"trials": 1}, concurrency=1)
    [trial] = run_sweep(spec, tmp_path).trials.values()
    assert trial.status == "completed"
    assert [step for step, _ in trial.curve("eval/reconstruction_nats")] == [2, 4, 6, 8, 10, 12]
    assert left_behind() == []


def test_more_workers_than_the_cluster_holds_are_refused_before_anything_starts(tmp_path):
    run = tiny_run(tmp_path) | {"workers": 4}
    with pytest.raises(NoRoom, match=r"2 trial\(s\) at once, each of 4 workers with 1 CPU, 0 GPU: 0 would fit"):
        run_sweep(sweep_spec(tmp_path, run), tmp_path)
    assert not (tmp_path / "tiny" / "trials").exists()


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)


@pytest.mark.timeout(600)
def test_a_killed_driver_loses_no_trial_repeats_none_and_leaves_no_secret(tmp_path, monkeypatch):
    """The sweep runs in a Ray instance of its own; driver and instance are killed together, then it is run again."""
    monkeypatch.setenv("WHERE", "/hunter2.db")
    slow = tiny_run(tmp_path, steps=200, report_every=20, checkpoint_every=20)
    search = {"storage": f"sqlite:///{tmp_path}${{WHERE}}"}
    spec = sweep_spec(tmp_path, slow, search=search, early_stopping={"kind": "none"}, budget={"trials": 3})
    (tmp_path / "sweep.yaml").write_text(dump(spec.model_dump(mode="json")))
    arguments = ["sweep", str(tmp_path / "sweep.yaml"), "--storage", str(tmp_path)]
    command = [sys.executable, "-m", "cogito_ray", *arguments]
    ledger = tmp_path / "tiny" / NAME
    log = tmp_path / "said.log"

    def has_reported():
        assert first.poll() is None, log.read_text()[-3000:]
        return ledger.exists() and b'"reported"' in ledger.read_bytes()

    with log.open("w") as said, subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True) as first:
        wait_for(has_reported, seconds=200)
        os.killpg(first.pid, signal.SIGKILL)
    files = [path for path in (tmp_path / "tiny").rglob("*") if path.is_file()]
    assert any(path.name == "tuner.pkl" for path in files)
    assert not [path for path in files if b"hunter2" in path.read_bytes()]
    assert (tmp_path / "hunter2.db").exists()
    killed = read(ledger)
    assert any(trial.status == "unfinished" for trial in killed.trials.values())
    record = run_sweep(spec, tmp_path)
    assert {trial.status for trial in record.trials.values()} == {"completed"}
    assert len(record.trials) == 3
    assert killed.trials.keys() <= record.trials.keys()
    assert set(ends(tmp_path / "tiny").values()) == {1}


def one_trial(folder, rows, **training):
    """A sweep of a single trial, of a run in which these settings say what rows are and how they are read."""
    only = {"space": {"seed": {"choice": [3]}}, "search": {"sampler": "grid"}, "budget": {"trials": 1}}
    only["early_stopping"] = {"kind": "none"}
    run = tiny_run(folder, **training)
    return sweep_spec(folder, run | {part: run[part] | changed for part, changed in rows.items()}, **only)


def kill_first_trial(ledger):
    """SIGKILL the process of the first trial that has reported."""
    wait_for(lambda: ledger.exists() and ledger.read_bytes().count(b'"reported"') >= 3, seconds=200)
    ours = psutil.Process().children(recursive=True)  # the session's instance, and no other on this machine
    [trial] = [process for process in ours if "ray::ImplicitFunc" in " ".join(process.cmdline())]
    trial.kill()


@pytest.mark.quick
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "rows",
    [{}, {"data": {"packing": "best_fit"}, "model": {"attention": "document"}}],
    ids=["rows read whole", "documents apart"],
)
def test_a_killed_trial_process_resumes_and_ends_as_if_nothing_had_happened(tmp_path, rows):
    spec = one_trial(tmp_path, rows, steps=120, report_every=20, checkpoint_every=20)
    [undisturbed] = run_sweep(spec, tmp_path / "straight").trials.values()
    with ThreadPoolExecutor() as pool:
        killing = pool.submit(kill_first_trial, tmp_path / "killed" / "tiny" / NAME)
        [killed] = run_sweep(spec, tmp_path / "killed").trials.values()
        killing.result()
    assert killed.status == "completed"
    starts = [e for e in events(tmp_path / "killed" / "tiny" / NAME) if isinstance(e, TrialStarted)]
    assert len(starts) == 2
    for metric in ("eval/reconstruction_nats", "concepts/effective_rank", "loss/total"):
        assert killed.curve(metric) == undisturbed.curve(metric)
