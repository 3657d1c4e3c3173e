"""Two workers that share every weight take the steps of two that hold a copy each, and resume as they do."""

import multiprocessing
import os
import time
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from pydantic import ValidationError
from safetensors.torch import load_file

from cogito_ray.evaluation.validation.held_out_loss import HeldOutLoss
from cogito_ray.testing.tiny_runs import ROWS, VOCABULARY, run
from cogito_ray.training.checkpoints.checkpoint_store import Checkpoints, State
from cogito_ray.training.checkpoints.manifest import sha256
from cogito_ray.training.distributed.worker_agreement import WorkerFailed
from cogito_ray.training.training_loop import CorpusFacts, Request, RunPreempted, fit

STEPS = 4
SLOW_S = 0.25


def spec(parallel, *, start_from=None, upload=None, **training):
    steps = {"steps": STEPS, "batch": 8, "micro_batch": 2, "report_every": 2, "checkpoint_every": 2}
    steps |= {"parallel": parallel, "checkpoints": {"upload": upload}} | training
    return run(objective={"kind": "tsdae"}, training=steps, workers=2, start_from=start_from)


def train(rank, folder, settings, leave_at=None):
    told = []

    def feed(done):
        for step in range(done, STEPS):
            share = ROWS[step * 8 + rank * 4 : step * 8 + rank * 4 + 4]
            yield from torch.from_numpy(share.copy()).split(settings.micro_batch)

    fit(
        settings,
        CorpusFacts(VOCABULARY, torch.zeros(VOCABULARY.size)),
        feed=feed,
        evaluate=HeldOutLoss(torch.from_numpy(ROWS[-4:].copy()), settings.reference, VOCABULARY),
        on_report=told.append,
        checkpoints=Checkpoints(folder, "abc", settings.training.checkpoints),
        requested=lambda: Request.PREEMPT if told[-1].step == leave_at else Request.CONTINUE,
    )
    return told


def leave(rank, folder, settings):
    """After two steps."""
    with pytest.raises(RunPreempted):
        train(rank, folder, settings, leave_at=2)


@contextmanager
def slow_disk(rank):
    """The first worker's."""
    sync = os.fsync

    def slowly(file):
        time.sleep(SLOW_S / 4)
        sync(file)

    os.fsync = slowly if rank == 0 else sync
    yield
    os.fsync = sync


@contextmanager
def late_view(rank, folder):
    """Another machine's view of the folder "0", which appears later as "1"."""
    late = Timer(SLOW_S, lambda: (folder / "1").symlink_to("0"))
    if rank == 1:
        late.start()
    yield
    if rank == 1:
        late.join()


def resumed(rank, folder, kind):
    """What is told of runs that were left after two steps and resumed: how -> reports, or what went wrong."""
    told = {}
    with slow_disk(rank):
        leave(rank, folder / f"slow-{kind}", spec(kind))
        told[f"slow-{kind}"] = train(rank, folder / f"slow-{kind}", spec(kind))
    late = folder / f"late-{kind}"
    leave(rank, late / "0", spec(kind))
    with late_view(rank, late):
        told[f"late-{kind}/0"] = train(rank, late / str(rank), spec(kind))
    return told


def resumed_apart(rank, folder):
    """The same, on disks of their own: from a copy. It is read before the model is, so one strategy is enough."""
    own, away = folder / "apart-ddp" / str(rank), spec("ddp", stall_s=4 * SLOW_S, upload=f"file://{folder}/away-ddp")
    with slow_disk(rank):
        leave(rank, own, away)
        return {"apart-ddp/0": train(rank, own, away)}


def refused(rank, folder):
    """Runs whose second worker never sees what the first one sees: a checkpoint, or weights to start from, which are
    read before the model is held in any way."""
    other = {"kind": "checkpoint", "folder": f"{folder}/ddp/step-{STEPS - 2 * rank:08d}", "parts": ["encoder"]}
    runs = [(f"never-{kind}", folder / f"never-{kind}" / str(rank), spec(kind)) for kind in ("ddp", "fsdp")]
    for _, own, settings in runs:
        leave(rank, own.with_name("0"), settings)
    for what, own, settings in [*runs, ("start-ddp", folder / "start-ddp", spec("ddp", start_from=other))]:
        impatient = settings.training.model_copy(update={"stall_s": 2 * SLOW_S})
        began = time.monotonic()
        with pytest.raises(WorkerFailed) as failed:
            train(rank, own, settings.model_copy(update={"training": impatient}))
        (folder / f"{what}-{rank}").write_text(f"{time.monotonic() - began}\n{failed.value}")


PADDED = ROWS[:4].copy()
PADDED[2, 2:] = PADDED[3, 5:] = VOCABULARY.pad_id
CUTS = {
    "one pass": (1, 4, "ddp"),
    "two passes": (1, 2, "ddp"),
    "two workers": (2, 2, "ddp"),
    "two workers of two passes": (2, 1, "ddp"),
    "fsdp": (2, 2, "fsdp"),
    "fsdp of two passes": (2, 1, "fsdp"),
}
"""Workers, rows of a pass, how the model is held."""


def one_step(cut, rank, **loss):
    """(weights after a step that adds the gradient of PADDED times -1, report). Nothing is left to chance."""
    workers, micro_batch, parallel = CUTS[cut]
    plain = {"learning_rate": 1e6, "epsilon": 1e6, "beta1": 0.0, "beta2": 0.0, "weight_decay": 0.0, "clip": 1e30}
    settings = run(
        objective={"kind": "tsdae", "rate": 1e-6, "target_rate": 1.0},
        loss={"regularisers": [{"kind": "orthogonality"}, {"kind": "mst"}], "weighting": {"kind": "learnable"}} | loss,
        training={"steps": 1, "batch": 4, "micro_batch": micro_batch, "parallel": parallel, "report_every": 1,
                  "schedule": {"kind": "wsd", "warmup_steps": 0, "decay": 0.0}, "optimizer": plain,
                  "guards": {"collapse": None}},
        workers=workers,
    )
    told, share = [], PADDED[rank * 4 // workers : (rank + 1) * 4 // workers]
    model = fit(
        settings,
        CorpusFacts(VOCABULARY, torch.zeros(VOCABULARY.size)),
        feed=lambda done: iter(torch.from_numpy(share.copy()).split(micro_batch)),
        evaluate=lambda model: {},
        on_report=told.append,
    )
    from torch.distributed.tensor import DTensor  # seconds

    weights = {name: w.full_tensor() if isinstance(w, DTensor) else w for name, w in model.state_dict().items()}
    return weights, told[-1].metrics


def worker(rank, folder):
    """DDP, FSDP, and both resumed in all the ways; one step of one batch, cut in several ways."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    told = {kind: train(rank, folder / kind, spec(kind)) for kind in ("ddp", "fsdp")}
    for kind in ("ddp", "fsdp"):
        told[f"{kind}-one-pass"] = train(rank, folder / f"{kind}-one-pass", spec(kind, micro_batch=4))
    for kind in ("ddp", "fsdp"):
        told |= resumed(rank, folder, kind)
    told |= resumed_apart(rank, folder)
    refused(rank, folder)
    absurd = {"optimizer": {"learning_rate": 1e30, "clip": 1e30}}
    back = {"on_divergence": {"kind": "rollback", "times": 1, "factor": 1e-32}}
    with slow_disk(rank):
        told["back"] = train(rank, folder / "back", spec("ddp", **absurd, **back))
    if rank == 0:
        plain = {kind: [(r.step, r.rows, r.metrics) for r in reports] for kind, reports in told.items()}
        torch.save(plain, folder / "told")
    steps = {cut: one_step(cut, rank) for cut, (workers, *_) in CUTS.items() if workers == 2}
    contrast = {"kind": "halves", "across_workers": True}
    steps |= {f"contrast, {cut}": one_step(cut, rank, contrast=contrast) for cut in ("two workers", "fsdp")}
    if rank == 0:
        torch.save(steps, folder / "steps")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(folder, what the first worker told of each kind)"""
    folder = tmp_path_factory.mktemp("parallel")
    slow_imports = ["cogito_ray.training.training_loop", "cogito_ray.training.distributed.fsdp", "pytest"]
    multiprocessing.set_forkserver_preload(slow_imports)             # once for both
    mp.start_processes(worker, args=(folder,), nprocs=2, start_method="forkserver")
    return folder, torch.load(folder / "told", weights_only=True)


def weights(folder: Path):
    return load_file(folder / f"step-{STEPS:08d}" / "model.safetensors")


RESUMED = ["slow-ddp", "slow-fsdp", "late-ddp", "late-fsdp", "apart-ddp"]


@pytest.mark.parametrize("passes", ["", "-one-pass"])
def test_fsdp_ends_with_the_weights_and_rows_of_ddp_however_many_passes_a_step_has(trained, passes):
    assert_ends_like_ddp(trained, f"fsdp{passes}", f"ddp{passes}")


@pytest.mark.parametrize("kind", RESUMED)
def test_all_workers_resume_from_the_checkpoint_that_the_first_one_chose_however_late_they_see_it(trained, kind):
    """The first one's disk is slow; the other sees its folder late; the other has a disk of its own, and a copy."""
    assert_ends_like_ddp(trained, kind if kind.startswith("slow") else f"{kind}/0")
    assert [step for step, _, _ in trained[1][kind if kind.startswith("slow") else f"{kind}/0"]] == [STEPS]


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_a_checkpoint_that_one_worker_never_sees_ends_all_of_them_with_its_name_and_a_way_out(trained, kind):
    folder, _ = trained
    for rank in (0, 1):
        seconds, said = (folder / f"never-{kind}-{rank}").read_text().split("\n")
        assert said.startswith(f"worker 1 of 2: {folder}/never-{kind}/1/step-00000002: the run goes on from this")
        assert f"does not, after {SLOW_S:g} s: " in said
        assert "manifest.json: missing" in said
        assert "Give all workers one folder that each of them sees, or set training.checkpoints.upload" in said
        assert float(seconds) < 10                                  # it waits one SLOW_S


def test_weights_to_start_from_that_one_worker_sees_otherwise_end_all_of_them(trained):
    folder, _ = trained
    said = {(folder / f"start-ddp-{rank}").read_text().split("\n")[1] for rank in (0, 1)}
    first, second = (sha256(folder / "ddp" / f"step-{step:08d}" / "model.safetensors")[:16] for step in (4, 2))
    file = folder / "ddp" / "step-00000002" / "model.safetensors"
    assert said == {f"worker 1 of 2: {file}: this worker sees weights {second}, but the first one has {first}"}


def test_all_workers_go_back_to_the_same_checkpoint(trained):
    folder, told = trained
    assert [step for step, _, _ in told["back"]] == [2, STEPS]
    assert State.read(folder / "back" / f"step-{STEPS:08d}").rollbacks == 1


def assert_ends_like_ddp(trained, kind, ddp="ddp"):
    folder, told = trained
    expected = weights(folder / ddp)
    for name, found in weights(folder / kind).items():
        torch.testing.assert_close(found, expected[name], rtol=0, atol=1e-6)    # sums in another order
    assert told[kind][-1][:2] == told[ddp][-1][:2]


def test_fsdp_measure_what_ddp_measure(trained):
    _, told = trained
    for (_, _, one), (_, _, other) in zip(told["fsdp"], told["ddp"], strict=True):
        for name in ("eval/reconstruction_nats", "optimizer/gradient_norm", "optimizer/weight_norm", "loss/total"):
            assert one[name] == pytest.approx(other[name], rel=1e-5)


@pytest.fixture(scope="module")
def whole():
    return one_step("one pass", 0)


@pytest.mark.parametrize("cut", [cut for cut in CUTS if cut != "one pass"])
def test_the_step_and_the_losses_of_a_batch_do_not_depend_on_how_it_is_cut_though_rows_are_padded(trained, whole, cut):
    folder, _ = trained
    steps = torch.load(folder / "steps", weights_only=True)
    weights, metrics = steps[cut] if cut in steps else one_step(cut, 0)
    for name, expected in whole[0].items():
        torch.testing.assert_close(weights[name], expected, rtol=0, atol=1e-6)
    for name in ("loss/total", "loss/reconstruction", "loss/orthogonality", "loss/mst", "optimizer/gradient_norm"):
        assert metrics[name] == pytest.approx(whole[1][name], rel=1e-5)


@pytest.mark.parametrize("cut", ["two workers", "fsdp"])
def test_negatives_of_all_workers_are_those_of_one_pass_with_all_their_rows(trained, cut):
    weights, metrics = torch.load(trained[0] / "steps", weights_only=True)[f"contrast, {cut}"]
    whole, told = one_step("one pass", 0, contrast={"kind": "halves"})
    for name, expected in whole.items():
        torch.testing.assert_close(weights[name], expected, rtol=0, atol=1e-6)
    for name in ("loss/total", "loss/contrast", "optimizer/gradient_norm"):
        assert metrics[name] == pytest.approx(told[name], rel=1e-5)


@pytest.mark.parametrize("workers", [1, {"min": 2, "max": 4}])
def test_negatives_of_all_workers_want_a_fixed_number_of_them(workers):
    with pytest.raises(ValidationError, match="across_workers: as many negatives as workers, whose"):
        run(loss={"contrast": {"kind": "halves", "across_workers": True}}, training={"batch": 48}, workers=workers)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"workers": 1}, "one worker has nothing to share"),
        ({"workers": 2, "training": {"on_divergence": {"kind": "rollback"}}}, "'rollback' is for ddp"),
    ],
)
def test_what_does_not_go_with_fsdp_is_refused(settings, fault):
    with pytest.raises(ValidationError, match=fault):
        run(**settings | {"training": settings.get("training", {}) | {"parallel": "fsdp"}})
