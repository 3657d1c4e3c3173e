"""Workers that share every weight write a checkpoint together: whole or not there, and for any number of workers."""

import os
import pickle
import signal
import time
from contextlib import suppress
from itertools import count
from threading import Event

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file

from cogito_ray.testing.tiny_runs import ROWS, VOCABULARY, run
from cogito_ray.training.checkpoints.checkpoint_store import Checkpoints
from cogito_ray.training.checkpoints.manifest import verify
from cogito_ray.training.training_loop import CorpusFacts, Request, RunPreempted, fit

STEPS = 6
PATIENCE_S = 120
SYNC = os.fsync


def spec(parallel):
    training = {"steps": STEPS, "batch": 4, "micro_batch": 2, "report_every": 1, "checkpoint_every": 2}
    training |= {"guards": {"collapse": None}}
    return run(objective={"kind": "tsdae"}, training=training | {"parallel": parallel}, workers={"min": 1, "max": 2})


def train(folder, settings, *, rank=0, world=1, leave_at=None, on_report=lambda report: None):
    """What is told of the run in `folder`, from its newest checkpoint on: step -> rows."""
    told = {}

    def feed(done):
        for step in range(done, STEPS):
            share = ROWS[step * 4 + rank * 4 // world : step * 4 + (rank + 1) * 4 // world]
            yield from torch.from_numpy(share.copy()).split(2)

    def tell(report):
        told[report.step] = report.rows
        on_report(report)

    with suppress(RunPreempted):
        fit(
            settings,
            CorpusFacts(VOCABULARY, torch.zeros(VOCABULARY.size)),
            feed=feed,
            evaluate=lambda model: {},
            on_report=tell,
            checkpoints=Checkpoints(folder, "abc", settings.training.checkpoints),
            requested=lambda: Request.PREEMPT if max(told) == leave_at else Request.CONTINUE,
        )
    return told


def join(rank, world, meet):
    torch.set_num_threads(1)
    place = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": 29500}
    os.environ |= {name: str(value) for name, value in place.items()} | {"MASTER_ADDR": "127.0.0.1"}
    dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=world)


def worker(rank, folder, world, leave_at):
    join(rank, world, folder / f"meet-{world}-{leave_at}")
    told = train(folder / "run", spec("fsdp"), rank=rank, world=world, leave_at=leave_at)
    (folder / f"told-{leave_at}-{rank}").write_bytes(pickle.dumps(told))
    dist.destroy_process_group()


def doomed(rank, folder):
    """The second worker's shards of step 2 reach the disk only after step 3 is told; over those of step 4 it dies."""
    join(rank, 2, folder / "meet-doomed")
    told, files = Event(), count()

    def sync(file):
        if next(files) == 0:
            assert told.wait(PATIENCE_S)
            SYNC(file)
        else:
            os.kill(os.getpid(), signal.SIGKILL)

    if rank == 1:
        os.fsync = sync
    train(folder / "run", spec("fsdp"), rank=rank, world=2, on_report=lambda one: one.step == 3 and told.set())


def start(work, given, world):
    """Exit codes of these workers, all of which end when one fails."""
    context = mp.start_processes(work, given, world, join=False, start_method="forkserver")
    deadline = time.monotonic() + PATIENCE_S
    try:
        with suppress(mp.ProcessRaisedException, mp.ProcessExitedException):
            while not context.join(timeout=1):
                assert time.monotonic() < deadline, "the workers stand still"
    finally:
        for process in context.processes:
            process.kill()
            process.join()
    return [process.exitcode for process in context.processes]


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """(folder of a run that two workers began, one went on with, and two ended; what the first told; the names in the
    folder when one of the first two had died)."""
    folder = tmp_path_factory.mktemp("sharded")
    assert start(doomed, (folder,), 2)[1] == -signal.SIGKILL
    left = sorted(path.name for path in (folder / "run").iterdir())
    verify(folder / "run" / "step-00000002")
    for world, leave_at in ((1, 4), (2, None)):
        assert start(worker, (folder, world, leave_at), world) == [0] * world
    told = [pickle.loads((folder / f"told-{leave_at}-0").read_bytes()) for leave_at in (4, None)]
    return folder / "run", told, left


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, train(folder, spec("ddp"))


def test_a_worker_that_dies_over_its_shards_leaves_the_checkpoint_before(resumed):
    """Which had been written while training went on."""
    _, told, left = resumed
    assert [name for name in left if not name.startswith(".partial-step-00000004-")] == ["step-00000002"]
    assert list(told[0]) == [3, 4]


def test_a_checkpoint_of_two_workers_is_gone_on_with_by_one_and_that_of_one_by_two(resumed, undisturbed):
    folder, (by_one, by_two), _ = resumed
    assert undisturbed[1] == {step: undisturbed[1][step] for step in (1, 2)} | by_one | by_two
    assert list(by_two) == [5, 6]
    expected = load_file(undisturbed[0] / "step-00000006" / "model.safetensors")
    found = load_file(folder / "step-00000006" / "model.safetensors")
    assert found.keys() == expected.keys()
    for name, weight in found.items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-6)        # sums in another order


def test_each_worker_writes_a_file_of_its_own_and_the_manifest_names_them_all(resumed):
    folder, _, _ = resumed
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000004", "step-00000006"]
    shared = {".metadata", "model.safetensors", "state.json"}
    for step, workers in ((4, 1), (6, 2)):
        files = verify(folder / f"step-{step:08d}")
        assert files.keys() == shared | {f"__{rank}_0.distcp" for rank in range(workers)}
