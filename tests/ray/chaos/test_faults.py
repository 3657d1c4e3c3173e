"""Real faults on one machine. Whatever happens, the run ends with the rows and the weights of its undisturbed twin."""

import subprocess
import sys

import pytest
from ordeal import (
    AGAIN,
    CONTROLLER,
    DATA_TASK,
    PATIENCE_S,
    WORKER,
    Fault,
    Ordeal,
    alters_newest_checkpoint_and_kills_worker,
    interrupts,
    kill_all,
    kills,
    kills_instance,
    kills_while_writing,
    pauses,
    tears_shard_and_kills_worker,
)

from cogito_ray.records.ledger import SweepClosed, events
from cogito_ray.runtime.verification.fault_injection import Drill

TRIES = range(2)
FAULTS = {
    "a worker is killed": Fault(kills(WORKER)),
    "a worker is killed while it writes a checkpoint": Fault(kills_while_writing),
    "a worker is stopped for 8 s": Fault(pauses(WORKER, seconds=8)),
    "the newest checkpoint is altered and the worker killed": Fault(alters_newest_checkpoint_and_kills_worker),
    "a data task is killed": Fault(kills(DATA_TASK), changed={"reader": "streamed"}, at=0),
    "Train's controller is killed": Fault(kills(CONTROLLER)),
    "driver and Ray instance are killed": Fault(kills_instance, survived=False),
}


def same(one, other):
    """Equal to the last bit, and of the same rows."""
    assert one.rows == other.rows
    assert one.step == other.step
    assert one.distance(other) == 0


@pytest.mark.timeout(900)
def test_killed_worker_and_killed_instance_leave_the_rows_and_weights_of_a_bare_process(
    base, bare, storage, record_property
):
    record_property("fault", "a worker, then driver and Ray instance are killed")
    drill = Drill(base, "quick", storage)
    ordeal = Ordeal(drill)

    def strike(driver, drill):
        kills(WORKER)(driver, drill)
        drill.wait_for(150, seconds=PATIENCE_S)
        kills_instance(driver, drill)

    assert ordeal.suffer(strike, at=50) != 0
    same(ordeal.finish(), bare)
    assert len(drill.record().openings) == 2
    assert [note for note in drill.trial().notes if "resumed at step" in note]
    record_property("outcome", AGAIN)
    record_property("lost", ordeal.lost_s)


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", TRIES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_struck_run_ends_as_if_nothing_had_happened(befall, bare, fault, seed):
    same(befall(fault, FAULTS[fault], seed), bare)


@pytest.fixture
def neighbour():
    """Another instance, with a dashboard; not that of other tests, which heads are killed beside."""
    code = "import ray, time; ray.init('local', num_cpus=1, include_dashboard=True); print(flush=True); time.sleep(999)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True) as process:
        process.stdout.readline()
        yield
        kill_all(process)


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("neighbour")
def test_another_instance_of_ray_on_the_machine_leaves_a_run_alone(befall, bare, base, storage, tmp_path):
    same(befall("another instance of Ray has a dashboard", Fault(lambda driver, drill: None), 0), bare)
    assert Drill(base, tmp_path.name, storage).trial().notes == []


@pytest.mark.chaos
@pytest.mark.timeout(1200)
def test_an_interrupted_command_says_so_and_goes_on_when_it_is_given_again(befall, bare, base, storage, tmp_path):
    same(befall("the command is interrupted (SIGINT)", Fault(interrupts, survived=False), 0), bare)
    told = events(Drill(base, tmp_path.name, storage).experiment.ledger)
    assert [event.cause for event in told if isinstance(event, SweepClosed)] == ["interrupted", "complete"]


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", TRIES)
def test_a_shard_torn_under_the_run_is_built_again_by_the_same_command(befall, bare, own_storage, seed):
    fault = Fault(tears_shard_and_kills_worker, survived=False)
    same(befall("a token shard is torn and the worker killed", fault, seed, below=own_storage), bare)
