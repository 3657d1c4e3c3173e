"""Two workers that share every weight take the steps of two that hold a copy each, and resume as they do."""

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from kinds import ROWS, VOCABULARY, run
from pydantic import ValidationError
from safetensors.torch import load_file

from cogito_ray.evaluation.held_out import HeldOut
from cogito_ray.training.checkpoint import Checkpoints
from cogito_ray.training.loop import Facts, RunLeft, Wanted, fit

STEPS = 4


def spec(parallel):
    training = {"steps": STEPS, "batch": 8, "micro_batch": 2, "report_every": 2, "checkpoint_every": 2}
    return run(objective={"kind": "tsdae"}, training=training | {"parallel": parallel}, workers=2)


def train(rank, folder, parallel, leave_at):
    settings, told = spec(parallel), []

    def feed(done):
        for step in range(done, STEPS):
            share = ROWS[step * 8 + rank * 4 : step * 8 + rank * 4 + 4]
            yield from torch.from_numpy(share.copy()).split(2)

    fit(
        settings,
        Facts(VOCABULARY, torch.zeros(VOCABULARY.size)),
        feed=feed,
        evaluate=HeldOut(torch.from_numpy(ROWS[-4:].copy()), settings.reference, VOCABULARY),
        tell=told.append,
        checkpoints=Checkpoints(folder, "abc"),
        wanted=lambda: Wanted.LEAVE if told[-1].step == leave_at else Wanted.NOTHING,
    )
    return told


def worker(rank, folder):
    """Replicas; shards; shards that are interrupted after two steps and resume."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    told = {kind: train(rank, folder / kind, kind, None) for kind in ("replicas", "shards")}
    try:
        train(rank, folder / "resumed", "shards", leave_at=2)
    except RunLeft:
        told["resumed"] = train(rank, folder / "resumed", "shards", None)
    if rank == 0:
        plain = {kind: [(r.step, r.rows, r.metrics) for r in reports] for kind, reports in told.items()}
        torch.save(plain, folder / "told")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(folder, what the first worker told of each kind)"""
    folder = tmp_path_factory.mktemp("parallel")
    mp.start_processes(worker, args=(folder,), nprocs=2, start_method="spawn")
    return folder, torch.load(folder / "told", weights_only=True)


def weights(folder: Path):
    return load_file(folder / f"step-{STEPS:08d}" / "model.safetensors")


@pytest.mark.parametrize("kind", ["shards", "resumed"])
def test_shards_end_with_the_weights_and_rows_of_replicas(trained, kind):
    folder, told = trained
    expected = weights(folder / "replicas")
    for name, found in weights(folder / kind).items():
        torch.testing.assert_close(found, expected[name], rtol=0, atol=1e-6)    # sums in another order
    assert told[kind][-1][:2] == told["replicas"][-1][:2]


def test_shards_measure_what_replicas_measure(trained):
    _, told = trained
    for (_, _, one), (_, _, other) in zip(told["shards"], told["replicas"], strict=True):
        for name in ("eval/reconstruction_nats", "optimizer/gradient_norm", "optimizer/weight_norm", "loss/total"):
            assert one[name] == pytest.approx(other[name], rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"workers": 1}, "one worker has nothing to share"),
        ({"workers": 2, "training": {"compile": True}}, "compile is for replicas"),
        ({"workers": 2, "training": {"on_divergence": {"kind": "rollback"}}}, "'rollback' is for replicas"),
    ],
)
def test_what_does_not_go_with_shards_is_refused(settings, fault):
    with pytest.raises(ValidationError, match=fault):
        run(**settings | {"training": settings.get("training", {}) | {"parallel": "shards"}})
