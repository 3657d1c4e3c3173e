"""A worker that stands still is ended, by name, and its run goes on or fails with that cause."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from corpora import prepared_run

from cogito_ray.records.ledger import NAME
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.train.pretraining_driver import pretrain
from cogito_ray.text.preparation_plan import prepared
from cogito_ray.text.prepared_corpus import index_of

pytestmark = [pytest.mark.timeout(400), pytest.mark.usefixtures("ray_cluster"), pytest.mark.chaos]


def run_spec(folder, **changed):
    tree = prepared_run(folder)
    return RunSpec.model_validate(tree | changed | {"training": tree["training"] | changed.get("training", {})})


def wait_for(ledger, event):
    deadline = time.monotonic() + 120
    while not (ledger.exists() and event in ledger.read_bytes()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def suspend_a_worker(ledger):
    """SIGSTOP one of two train workers after a report."""
    wait_for(ledger, b'"reported"')
    ours = psutil.Process().children(recursive=True)
    workers = [process for process in ours if "RayTrainWorker" in " ".join(process.cmdline())]
    os.kill(workers[-1].pid, signal.SIGSTOP)


def test_a_run_with_a_suspended_worker_starts_again_and_tells_why(tmp_path):
    slow = {"steps": 2000, "report_every": 100, "checkpoint_every": 100, "stall_s": 20, "guards": {"collapse": None}}
    spec = run_spec(tmp_path, workers=2, training=slow)
    with ThreadPoolExecutor() as pool:
        stopping = pool.submit(suspend_a_worker, tmp_path / "paused" / NAME)
        [trial] = pretrain(spec, "paused", tmp_path).trials.values()
        stopping.result()
    assert trial.status == "completed"
    [note] = [note for note in trial.notes if "started again: worker" in note]
    assert "made no progress for 25 s" in note                    # it waited for the other one


def block_reading(file, ledger):
    """Once the run is begun, whoever opens the file waits for ever."""
    wait_for(ledger, b'"trial_started"')
    os.mkfifo(file.with_name("pipe"))
    file.with_name("pipe").replace(file)


def test_a_run_that_always_stands_still_fails_with_that_cause(tmp_path):
    spec = run_spec(tmp_path, training={"stall_s": 15})
    with ThreadPoolExecutor() as pool:
        index = index_of(prepared(spec.data, tmp_path).digests, tmp_path)
        blocking = pool.submit(block_reading, index, tmp_path / "stuck" / NAME)
        [trial] = pretrain(spec, "stuck", tmp_path).trials.values()
        blocking.result()
    assert trial.status == "failed"
    assert "worker 0 made no progress for 15 s after step 0: starting" in trial.cause
