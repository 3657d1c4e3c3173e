"""A sweep whose cluster grows and shrinks while it runs: a driver of its own, on processes that play machines."""

import contextlib
import os
import subprocess
import sys
import time

import pytest
from corpora import prepared_run
from fake_autoscaler import autoscaling
from own_cluster import cluster_of
from ray._raylet import GcsClient
from ray.core.generated import autoscaler_pb2

from cogito_ray.records.ledger import NAME, LedgerFault, Reported, TrialPaused, events
from cogito_ray.records.sweep_record import fold, read
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.train.torch_trainer import LEAVING
from cogito_ray.runtime.train.train_worker import Job, Place, train
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.yaml_io.yaml_writer import dump
from cogito_ray.text.preparation_plan import prepared

pytestmark = pytest.mark.chaos
LOST = ("its machine is gone", "its process died")     # which of the two depends on what Ray learns first
NATS = "eval/reconstruction_nats"
PATIENCE_S = 300
"""For a process to start on a machine that does much else."""
STEPS = 1000
"""Of a trial that is to see machines come and go: they take longer to start than to train a tiny model."""
NODES = """
import json, ray
ray.init("auto", log_to_driver=False, logging_level="ERROR")
print("alive", sum(node["Alive"] for node in ray.nodes()))
"""


def sweep_file(folder, *, seeds, steps, **changed):
    """Trials that differ in their seeds alone."""
    run = prepared_run(folder)
    run["training"] |= {"steps": steps, "report_every": 20, "checkpoint_every": 20}
    tree = {
        "name": "elastic",
        "run": run | changed,
        "space": {"seed": {"choice": list(range(seeds))}},
        "search": {"sampler": "grid"},
        "goals": [{"metric": NATS, "mode": "min"}],
        "budget": {"trials": seeds},
    }
    file = folder / "elastic.yaml"
    file.write_text(dump(SweepSpec.model_validate(tree).model_dump(mode="json")))
    return file


@contextlib.contextmanager
def driven(file, environment):
    """Its driver, killed in any case."""
    command = [sys.executable, "-m", "cogito_ray", "sweep", str(file), "--storage", str(file.parent), "--json"]
    with open(file.parent / "said", "w") as said:
        driver = subprocess.Popen(command, env=os.environ | environment, stdout=said, stderr=said)
    try:
        yield driver
    finally:
        driver.kill()
        driver.wait()


def running(folder):
    """Trials under way that have reported since they started last."""
    try:
        record = read(folder / "elastic" / NAME)
    except (FileNotFoundError, LedgerFault):
        return 0
    return sum(record.is_running(trial) and bool(trial.step) for trial in record.trials.values())


def wait_for(holds, *, seconds):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def machines(environment):
    said = subprocess.run([sys.executable, "-c", NODES], env=os.environ | environment, capture_output=True, text=True)
    [line] = [line for line in said.stdout.splitlines() if line.startswith("alive")]
    return int(line.split()[1])


@pytest.mark.timeout(400)
def test_a_sweep_starts_on_an_empty_cluster_whose_autoscaler_makes_room_and_leaves_it_empty(tmp_path):
    file = sweep_file(tmp_path, seeds=4, steps=200)
    with autoscaling(tmp_path, cpus=2, most=2, idle_s=5) as environment:
        with driven(file, environment) as driver:
            assert driver.wait(250) == 0, (tmp_path / "said").read_text()
        record = read(tmp_path / "elastic" / NAME)
        assert record.is_complete
        assert {trial.status for trial in record.trials.values()} == {"completed"}
        wait_for(lambda: machines(environment) == 1, seconds=40)


@pytest.fixture
def nodes():
    """A head with the CPU that is spared, and a node that holds one trial of 1.5 CPUs."""
    with cluster_of(nodes=1, head_cpus=1) as cluster:
        yield cluster


def announce(cluster, node):
    """That it will be taken away."""
    away, deadline = autoscaler_pb2.DRAIN_NODE_REASON_PREEMPTION, (time.time_ns() + 600 * 10**9) // 10**6
    accepted, why = GcsClient(address=cluster.address).drain_node(node.node_id, away, "the spot market", deadline)
    assert accepted, why


def paused(ledger, cause):
    """How often a trial has left for this reason."""
    return sum(isinstance(event, TrialPaused) and event.cause == cause for event in events(ledger))


def alone(trial, storage):
    """The last report of the same run in this process, undisturbed."""
    run, reports = RunSpec.model_validate(trial.spec), []
    job = Job(run, storage, prepared(run.data, storage).digests, storage / "alone" / trial.id)
    train(job, reports.append, Place())
    return reports[-1]


@pytest.mark.timeout(900)
def test_trials_follow_machines_that_join_are_announced_to_go_and_are_lost_and_none_is_the_worse(nodes, tmp_path):
    file = sweep_file(tmp_path, seeds=5, steps=STEPS, cpus_per_worker=1.5)
    ledger = tmp_path / "elastic" / NAME
    with driven(file, {"RAY_ADDRESS": nodes.address}) as driver:
        wait_for(lambda: running(tmp_path) == 1, seconds=PATIENCE_S)
        doomed = nodes.add_node(num_cpus=3)
        wait_for(lambda: running(tmp_path) == 3, seconds=PATIENCE_S)
        announce(nodes, doomed)
        wait_for(lambda: paused(ledger, LEAVING) == 2, seconds=PATIENCE_S)
        told = events(ledger)
        nodes.remove_node(doomed, allow_graceful=False)
        lost = nodes.add_node(num_cpus=3)
        wait_for(lambda: running(tmp_path) == 3, seconds=PATIENCE_S)
        nodes.remove_node(lost, allow_graceful=False)
        assert driver.wait(PATIENCE_S) == 0, (tmp_path / "said").read_text()
    assert paused(ledger, LEAVING) == sum(paused(ledger, cause) for cause in LOST) == 2
    record, whole = read(ledger), events(ledger)
    assert record.is_complete
    left = {trial.id: trial.step for trial in fold(told).trials.values() if trial.step and not trial.end}
    after = {event.trial: event.step for event in reversed(whole[len(told) :]) if isinstance(event, Reported)}
    assert {name: after[name] for name in left} == {name: step + 20 for name, step in left.items()}    # no step is lost
    for trial in record.trials.values():
        last = alone(trial, tmp_path)
        assert (trial.status, trial.step, trial.rows) == ("completed", STEPS, last.rows)
        assert trial.reports[STEPS].metrics[NATS] == last.metrics[NATS]
        steps = [event.step for event in whole if isinstance(event, Reported) and event.trial == trial.id]
        assert len(steps) <= STEPS / 20 + 2    # the lost machine cost at most what came since a checkpoint
