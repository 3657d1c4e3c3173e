"""A sweep and a run of two workers whose storage is an object store: killed, and resumed without anything local."""

import os
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest
from corpora import prepared_run

from cogito_ray.object_storage.object_store import ObjectStore
from cogito_ray.object_storage.storage_mirror import CACHE
from cogito_ray.records.ledger import NAME
from cogito_ray.records.sweep_record import read
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.train.pretraining_driver import pretrain
from cogito_ray.runtime.tune.sweep_driver import run_sweep
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.yaml_io.yaml_writer import dump

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(600)]
STEPS = 12


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """(A RunSpec tree, a folder in which its text is prepared)."""
    tree = prepared_run(disk := tmp_path_factory.mktemp("disk"))
    tree["training"].update(steps=STEPS, micro_batch=4, checkpoint_every=4)
    return tree, disk


def figures(record):
    """What each trial reported at each step, but for what clocks measure."""
    return {
        (trial.id, step): (report.rows, {n: v for n, v in report.metrics.items() if n.startswith(("loss/", "eval/"))})
        for trial in record.trials.values()
        for step, report in trial.reports.items()
    }


def started(command, file, url, cache):
    """The command as a process that knows of no folder but an empty one."""
    with cache.with_suffix(".log").open("wb") as log:
        arguments = [sys.executable, "-m", "cogito_ray", command, str(file), "--storage", url]
        return subprocess.Popen(arguments, env=os.environ | {CACHE: str(cache)}, stdout=log, stderr=log)


def kill(driver, s3, cache):
    """SIGKILL the driver and all that it started, once the store has report and checkpoint of step 4."""
    while not s3.resets_every:
        assert driver.poll() is None, cache.with_suffix(".log").read_text()[-3000:]
        time.sleep(0.1)
    others = psutil.Process(driver.pid).children(recursive=True)
    driver.kill()
    for other in others:
        with suppress(psutil.NoSuchProcess):
            other.kill()
    driver.wait()
    s3.recover()


def killed_and_resumed(command, file, s3, tmp_path):
    """The experiment's record, by the store alone."""
    store = ObjectStore(url := f"s3://bucket/{tmp_path.name}")
    s3.break_after(b"/step-00000004/manifest.json", b'"step":4,')
    kill(started(command, file, url, tmp_path / "first"), s3, tmp_path / "first")
    resumed = started(command, file, url, tmp_path / "second")
    assert resumed.wait() == 0, (tmp_path / "second.log").read_text()[-3000:]
    segments = sorted(store.sizes(f"{file.stem}/ledger"))
    (tmp_path / NAME).write_bytes(b"".join(store.read(segment) for segment in segments))
    assert {f"{file.stem}/report.html", "notebook.md"} <= store.sizes("").keys()
    record = read(tmp_path / NAME)
    assert "resumed at step 4" in " ".join(note for trial in record.trials.values() for note in trial.notes)
    return record


def test_a_sweep_killed_and_resumed_with_an_empty_mirror_ends_like_one_on_a_disk(prepared, s3, tmp_path):
    run, disk = prepared
    tree = {"space": {"objective.rate": {"choice": [0.4, 0.6]}}, "search": {"sampler": "grid"}}
    goals = [{"metric": "eval/reconstruction_nats", "mode": "min"}]
    tree |= {"name": "sweep", "run": run, "goals": goals, "budget": {"trials": 2}, "concurrency": 1}
    (file := tmp_path / "sweep.yaml").write_text(dump(tree))
    expected = figures(run_sweep(SweepSpec.model_validate(tree), disk))
    assert figures(killed_and_resumed("sweep", file, s3, tmp_path)) == expected
    assert len(expected) == 2 * STEPS / 2


@pytest.mark.chaos
def test_a_run_of_two_workers_killed_and_resumed_with_an_empty_mirror_ends_like_one_on_a_disk(prepared, s3, tmp_path):
    run, disk = prepared
    (file := tmp_path / "run.yaml").write_text(dump(tree := run | {"workers": 2}))
    expected = figures(pretrain(RunSpec.model_validate(tree), "run", disk))
    assert figures(killed_and_resumed("train", file, s3, tmp_path)) == expected
    assert len(expected) == STEPS / 2
