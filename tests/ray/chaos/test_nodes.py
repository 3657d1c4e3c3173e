"""Real faults on several nodes: two workers, each on a node of its own, the driver on a head without CPUs."""

import contextlib
import os
import re
import subprocess
import sys
import time

import psutil
import pytest
from ordeal import (
    AGAIN,
    BY_ITSELF,
    PATIENCE_S,
    TRIAL,
    WORKER,
    Fault,
    Ordeal,
    bare_result,
    find,
    kills,
    kills_driver,
    pauses,
    wait_until,
)
from own_cluster import cluster_of
from ray._raylet import GcsClient
from ray.core.generated import autoscaler_pb2
from safetensors.torch import load_file

from cogito_ray.evaluation.checkpoint_loader import newest
from cogito_ray.records.ledger import NAME, LedgerFault
from cogito_ray.records.sweep_record import read
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.cluster import NOTICES_OF_NODES
from cogito_ray.runtime.verification.fault_injection import Drill, Result
from cogito_ray.runtime.verification.resume_verification import OTHER_ORDER
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.yaml_io.yaml_writer import dump
from cogito_ray.training.checkpoints.manifest import WEIGHTS

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1200)]
TRIES = range(2)
SPREAD = {"workers": 2, "cpus_per_worker": 1.5}
"""A node has two CPUs, so it holds one worker; a lost node must be replaced before the run can go on."""


@pytest.fixture(scope="module")
def nodes():
    with cluster_of(nodes=2) as cluster:
        yield cluster


def kills_a_node(driver, drill):
    """SIGKILL for the raylet above a worker."""
    find(WORKER).parent().kill()


def replaces_a_node(cluster):
    """SIGKILL for the raylet above a worker; another node joins."""

    def strike(driver, drill):
        kills_a_node(driver, drill)
        cluster.add_node(num_cpus=2)

    return strike


def announces_and_kills_a_node(cluster):
    """Notice that the node of a worker will be taken away; it is once a checkpoint stands. Another one joins."""

    def strike(driver, drill):
        raylet = find(WORKER).parent()
        [node] = [each for each in cluster.worker_nodes if each.all_processes["raylet"][0].process.pid == raylet.pid]
        away, deadline = autoscaler_pb2.DRAIN_NODE_REASON_PREEMPTION, (time.time_ns() + 120 * 10**9) // 10**6
        accepted, why = GcsClient(address=cluster.address).drain_node(node.node_id, away, "the spot market", deadline)
        assert accepted, why
        wait_until(lambda: any(drill.checkpoints.glob("step-*")))
        raylet.kill()
        cluster.add_node(num_cpus=2)

    return strike


def kills_the_head(cluster):
    """SIGKILL for all that runs on the head but the driver."""

    def strike(driver, drill):
        for processes in cluster.head_node.all_processes.values():
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    psutil.Process(process.process.pid).kill()

    return strike


FAULTS = {
    "a node with a worker is killed, another joins": lambda cluster: Fault(replaces_a_node(cluster), changed=SPREAD),
    "one of two workers is killed": lambda cluster: Fault(kills(WORKER), changed=SPREAD),
    "one of two workers is stopped for 8 s": lambda cluster: Fault(pauses(WORKER, seconds=8), changed=SPREAD),
    "the driver is killed, the cluster stands": lambda cluster: Fault(kills_driver, survived=False, changed=SPREAD),
}


@pytest.mark.parametrize("seed", TRIES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_struck_on_several_nodes_ends_as_if_nothing_had_happened(befall, bare, nodes, fault, seed):
    result = befall(fault, FAULTS[fault](nodes), seed, RAY_ADDRESS=nodes.address)
    assert result.rows == bare.rows
    assert result.distance(bare) == 0


@pytest.mark.parametrize("seed", TRIES)
def test_a_run_whose_node_is_announced_to_go_loses_no_reported_step(befall, base, bare, nodes, storage, tmp_path, seed):
    rare = base.training.model_copy(update={"checkpoint_every": base.training.steps})
    fault = Fault(announces_and_kills_a_node(nodes), changed=SPREAD | {"training": rare.model_dump()})
    quick = {NOTICES_OF_NODES: "1", "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.2", "RAY_ADDRESS": nodes.address}
    result = befall("a node with a worker is announced to go, and goes", fault, seed, **quick)
    assert result.rows == bare.rows
    assert result.distance(bare) == 0
    [trial] = read(storage / tmp_path.name / NAME).trials.values()
    [resumed] = (found for note in trial.notes if (found := re.search(r"resumed at step (\d+)", note)))
    assert 0 < int(resumed[1]) < base.training.steps


def test_workers_are_placed_on_machines_with_the_labels_of_the_run(base, nodes, storage):
    fast = nodes.add_node(num_cpus=2, labels={"kind": "fast"}).all_processes["raylet"][0].process.pid
    placed = []
    of_fast, of_slow = (
        Ordeal(Drill(base.model_copy(update={"labels": {"kind": kind}}), kind, storage), {"RAY_ADDRESS": nodes.address})
        for kind in ("fast", "slow")
    )
    assert of_fast.suffer(lambda driver, drill: placed.append(find(WORKER).ppid()), at=10) == 0
    assert placed == [fast]
    with pytest.raises(AssertionError, match=r"labelled kind=slow: 0 would fit.* 1 x \(2 CPU, 0 GPU, kind=fast\)"):
        of_slow.finish()


@pytest.mark.parametrize("seed", TRIES)
def test_an_elastic_run_goes_on_with_a_node_less(befall, bare, nodes, seed):
    changed = SPREAD | {"workers": {"min": 1, "max": 2, "check_every_s": 5}}
    name = "a node of an elastic run is killed, none joins"
    result = befall(name, Fault(kills_a_node, changed=changed), seed, RAY_ADDRESS=nodes.address)
    nodes.add_node(num_cpus=2)
    assert result.rows == bare.rows
    assert result.distance(bare) <= OTHER_ORDER


@pytest.mark.parametrize("seed", TRIES)
def test_a_lost_head_ends_the_command_which_goes_on_in_another_instance(base, storage, record_property, seed):
    """Without an external Redis the head's state dies with it, and every node leaves, after some seconds alone."""
    name = "the head is killed, a new instance is started"
    record_property("fault", name)
    longer = base.training.model_copy(update={"steps": 1500, "report_every": 30, "checkpoint_every": 30})
    run = RunSpec.model_validate(base.model_dump() | {"training": longer.model_dump()})
    with cluster_of(nodes=2) as cluster:
        ordeal = Ordeal(Drill(run, f"head-{seed}", storage), {"RAY_ADDRESS": cluster.address})
        assert ordeal.suffer(kills_the_head(cluster), at=30) != 0
    assert ordeal.drill.trial().step < longer.steps
    ordeal.environment = {}
    result, alone = ordeal.finish(), bare_result(run, storage)
    assert result.rows == alone.rows
    assert result.distance(alone) == 0
    record_property("outcome", AGAIN)
    record_property("lost", ordeal.lost_s)


def sweep_of_two(base, name):
    """Two seeds of the run, at once."""
    axes = {"space": {"seed": {"choice": [1, 2]}}, "search": {"sampler": "grid"}, "budget": {"trials": 2}}
    goals = [{"metric": "eval/reconstruction_nats", "mode": "min"}]
    run = base.model_dump(mode="json") | {"cpus_per_worker": 1.5}
    return SweepSpec.model_validate({"name": name, "run": run, "goals": goals, "concurrency": 2} | axes)


def under_way(ledger):
    """Trials that have reported and not ended."""
    try:
        trials = read(ledger).trials.values()
    except (FileNotFoundError, LedgerFault):
        return []
    return [trial for trial in trials if trial.step and not trial.end]


@pytest.mark.parametrize("seed", TRIES)
def test_a_sweep_that_loses_a_node_completes_every_trial_as_if_it_had_not(base, storage, nodes, record_property, seed):
    record_property("fault", "a node with a sweep's trial is killed, another joins")
    sweep = sweep_of_two(base, f"sweep-{seed}")
    home, file = storage / sweep.name, storage / f"{sweep.name}.yaml"
    file.write_text(dump(sweep.model_dump(mode="json")))
    command = [sys.executable, "-m", "cogito_ray", "sweep", str(file), "--storage", str(storage), "--json"]
    with subprocess.Popen(command, env=os.environ | {"RAY_ADDRESS": nodes.address}) as driver:
        wait_until(lambda: len(under_way(home / NAME)) == 2)
        find(TRIAL).parent().kill()
        nodes.add_node(num_cpus=2)
        assert driver.wait(PATIENCE_S) == 0
    for trial in read(home / NAME).trials.values():
        spec = RunSpec.model_validate(trial.spec)
        alone = bare_result(spec, storage)
        left = Result(load_file(newest(home / "trials" / trial.id) / WEIGHTS), alone.rows, trial.step)
        assert trial.rows == alone.rows
        assert left.distance(alone) == 0
    record_property("outcome", BY_ITSELF)
