"""Whether this machine's GPUs compute what they should, and how near they come to what they can. Needs no Ray.

    python jobs/bench_gpu.py [--out bench_gpu]          on a CUDA machine: writes bench_gpu.md and bench_gpu.json
    python jobs/bench_gpu.py --tiny                     anywhere, in seconds: what needs CUDA is skipped, and named

First checks: recorded models, exact resume, compiled against eager, kernels of the vocabulary loss against all logits
in float64, steps that never wait for the device, and workers on all GPUs, whole copies (DDP) and shards (FSDP2).
Then speed, by `training_loop.fit` on random rows: tokens a second, model FLOPs utilisation (`training.model_flops`),
and the most memory that was taken. Rows of a step are those of --batch at the shortest length, fewer as texts grow.
"""

import argparse
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from torch.multiprocessing.spawn import ProcessException, spawn
from torch.nn.attention import SDPBackend, sdpa_kernel

from cogito_ray.nn.interop import legacy_checkpoint
from cogito_ray.nn.vocabulary_loss.chunked import Penalties
from cogito_ray.nn.vocabulary_loss.cuda_packages import installed
from cogito_ray.nn.vocabulary_loss.loss_kinds import LOSSES
from cogito_ray.run_spec import RunSpec
from cogito_ray.testing.tiny_runs import merged, run
from cogito_ray.text.vocabulary_info import Vocabulary
from cogito_ray.training.checkpoints.checkpoint_store import Checkpoints
from cogito_ray.training.guards import GuardsSpec
from cogito_ray.training.training_loop import CorpusFacts, Report, Request, RunPreempted, fit

PARITY = Path(__file__).parents[1] / "tests" / "golden" / "parity"
FULL = {"width": 512, "heads": 8, "concepts": 128, "encoder": {"depth": 6}}
RECIPES = {"tsdae/position": ("tsdae", "position"), "mlm/perceiver": ("mlm", "perceiver")}
PACKAGES = {"liger": "liger_kernel", "cut": "cut_cross_entropy"}
CUDA = "a CUDA GPU"
Row = TypeVar("Row")
BROKEN = (RuntimeError, ValueError, TypeError, AttributeError, ImportError, AssertionError, ProcessException)
STEPS = 8
PLAIN = {"learning_rate": 1e6, "epsilon": 1e6, "beta1": 0.0, "beta2": 0.0, "weight_decay": 0.0}
"""Gradient descent by 1, in which weights go a few percent. AdamW's first steps make as much of a rounding error as of
a gradient."""


@dataclass(frozen=True)
class Settings:
    """How large the measured runs are."""

    device: str
    model: dict[str, Any]
    vocabulary: int
    lengths: tuple[int, ...]
    batch: int
    steps: int

    @property
    def missing(self) -> set[str]:
        """What checks may need and is not here."""
        absent = {package for package in PACKAGES.values() if not installed(package)}
        return absent | (set() if self.device == "cuda" else {CUDA})


@dataclass(frozen=True)
class Check:
    """A claim, and what became of it."""

    name: str
    needs: tuple[str, ...]
    error: Callable[[Settings], float]
    """How far it is from being true."""
    allowed: float

    def told(self, settings: Settings) -> tuple[str, str, str]:
        """(name, passed, failed or skipped, why)."""
        if lacks := [need for need in self.needs if need in settings.missing]:
            return self.name, "skipped", f"needs {' and '.join(lacks)}"
        torch.set_float32_matmul_precision("highest")       # whatever a run has left
        try:
            found = self.error(settings)
        except BROKEN as fault:                              # it has failed; the others are still asked
            traceback.print_exc()
            return self.name, "failed", f"{type(fault).__name__}: {fault}".splitlines()[0][:100]
        return self.name, "passed" if found <= self.allowed else "failed", f"{found:.1e}, allowed {self.allowed:.1e}"


@dataclass(frozen=True)
class Speed:
    """What was measured of a run."""

    recipe: str
    length: int
    precision: str
    compiled: bool
    loss: str
    tokens_per_s: float | None = None
    mfu: float | None = None
    peak_gib: float | None = None
    data_wait: float | None = None
    """Share of the time in which the step waited for its rows."""
    note: str = ""


def spec(device: str, **over: Any) -> RunSpec:
    """A tiny run unless told otherwise, which nothing stops."""
    quiet = {"schedule": {"kind": "wsd", "warmup_steps": 0}, "guards": dict.fromkeys(GuardsSpec.model_fields)}
    steps = {"steps": STEPS, "batch": 8, "report_every": STEPS, "tf32": False}
    base = {"objective": {"kind": "tsdae"}, "training": steps | quiet}
    return run(**merged(base | {"gpus_per_worker": float(device == "cuda")}, over))


def train(
    settings: RunSpec,
    words: int = 64,
    *,
    share: tuple[int, int] = (0, 1),
    folder: Path | None = None,
    leave_at: int | None = None,
    at_step: Callable[[int], None] = lambda step: None,
) -> tuple[dict[str, Tensor], list[Report]]:
    """(weights, reports) of the run on random rows, this worker's `share` (rank, world) of them."""
    vocabulary, told = Vocabulary(words, 0, 1, 2, (0, 1, 2, 3)), list[Report]()
    rank, world = share

    def feed(done: int) -> Iterator[Tensor]:
        for step in range(done, settings.training.steps):
            at_step(step)
            draw = torch.Generator().manual_seed(step)
            rows = torch.randint(4, words, (settings.training.batch, settings.data.length), generator=draw)
            yield from rows.chunk(world)[rank].split(settings.micro_batch)

    with suppress(RunPreempted):
        model = fit(
            settings,
            CorpusFacts(vocabulary, torch.zeros(words)),
            feed=feed,
            evaluate=lambda model: {},
            on_report=told.append,
            checkpoints=Checkpoints(folder, "bench") if folder else None,
            requested=lambda: Request.PREEMPT if told[-1].step == leave_at else Request.CONTINUE,
        )
        return {name: weight.detach().clone() for name, weight in model.state_dict().items()}, told
    return {}, told


def distance(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """|found - expected| / |expected| over all of them."""
    off = sum(float((found[name].double().cpu() - one.double().cpu()).square().sum()) for name, one in expected.items())
    return float((off / sum(float(one.double().square().sum()) for one in expected.values())) ** 0.5)


def recorded(settings: Settings) -> float:
    """Concepts of the earlier implementation's models, against what it said on a CPU; the largest error."""
    index, worst = json.loads((PARITY / "index.json").read_text()), 0.0
    for case in index:
        tensors = load_file(PARITY / f"{case}.safetensors")
        if "inputs.input_ids" not in tensors or "outputs.concepts" not in tensors:
            continue
        weights = {name.removeprefix("weights."): each for name, each in tensors.items() if name.startswith("weights.")}
        decoder = "position" if "posonly" in case else "perceiver"
        model = legacy_checkpoint.convert(index[case]["config"], weights, decoder).to(settings.device)
        ids, seen = (tensors[f"inputs.{name}"].to(settings.device) for name in ("input_ids", "attention_mask"))
        places = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        with torch.no_grad():
            concepts = model.encoder(ids, places, seen.bool())                  # type: ignore[operator]
        worst = max(worst, distance({"concepts": concepts}, {"concepts": tensors["outputs.concepts"]}))
    return worst


def device_against_cpu(settings: Settings) -> float:
    worst = 0.0
    for objective, decoder in RECIPES.values():
        parts = {"model": {"decoder": {"kind": decoder}}, "objective": {"kind": objective}}
        found, expected = (
            train(spec(device, **parts, training={"optimizer": PLAIN}))[0] for device in (settings.device, "cpu")
        )
        worst = max(worst, distance(found, expected))
    return worst


def resumed(precision: str) -> Callable[[Settings], float]:
    def error(settings: Settings) -> float:
        steps = {"precision": precision, "report_every": STEPS // 2, "checkpoint_every": STEPS // 2}
        one = spec(settings.device, model=settings.model, training=steps, data={"length": settings.lengths[0]})
        with tempfile.TemporaryDirectory() as folder:
            whole, _ = train(one)
            train(one, folder=Path(folder), leave_at=STEPS // 2)
            parts, _ = train(one, folder=Path(folder))
        return 0.0 if all(map(torch.equal, whole.values(), parts.values())) else distance(parts, whole) or 1e-30

    return error


def compiled(settings: Settings) -> float:
    runs = (spec(settings.device, training={"compile": each, "optimizer": PLAIN}) for each in (False, True))
    eager, fast = (train(each)[0] for each in runs)
    return distance(fast, eager)


def kernel(kind: str, dtype: torch.dtype) -> Callable[[Settings], float]:
    """Loss and gradients of 2,048 targets against those of all logits in float64; the largest error."""

    def error(settings: Settings) -> float:
        torch.manual_seed(0)
        width, words, device = settings.model.get("width", 16), settings.vocabulary, settings.device
        shapes = {"hidden": (2048, width), "weight": (words, width), "bias": (words,)}
        drawn = {name: torch.randn(shape, device=device) for name, shape in shapes.items()}
        drawn["weight"] *= 2 / width**0.5                   # for logits of deviation 2, as trained models have
        drawn = {name: each.to(dtype) for name, each in drawn.items()}
        targets, weights = torch.randint(words, (2048,), device=device), torch.rand(2048, device=device)
        given = {"targets": targets, "weights": weights, "penalties": Penalties(0.1, 1e-4)}
        found = outcome(drawn, dtype, LOSSES[kind], given)
        expected = outcome(drawn, torch.float64, all_logits, given)
        return max(distance({name: found[name]}, {name: each}) for name, each in expected.items())

    return error


def outcome(
    drawn: dict[str, Tensor], dtype: torch.dtype, loss: Callable[..., Tensor], given: dict[str, Any]
) -> dict[str, Tensor]:
    """The loss, and the gradient of each of what was drawn."""
    leaves = {name: each.to(dtype).requires_grad_() for name, each in drawn.items()}
    total = loss(**leaves, **given)
    gradients = torch.autograd.grad(total, list(leaves.values()))
    return {"loss": total.detach()} | dict(zip(leaves, gradients, strict=True))


def all_logits(
    hidden: Tensor, weight: Tensor, *, bias: Tensor, targets: Tensor, weights: Tensor, penalties: Penalties
) -> Tensor:
    logits = F.linear(hidden, weight, bias)                                     # (M, V)
    nats = F.cross_entropy(logits, targets, reduction="none", label_smoothing=penalties.label_smoothing)
    return (weights * (nats + penalties.z_loss * logits.logsumexp(dim=1).square())).sum()


def waits(settings: Settings) -> float:
    """1 where a step between the first and the last waits for its device, which torch then says."""

    def watch(step: int) -> None:
        torch.cuda.set_sync_debug_mode("error" if 2 < step < STEPS - 2 else "default")

    try:
        train(spec(settings.device, training={"precision": "bfloat16"}), at_step=watch)
    except RuntimeError as fault:
        print(fault, file=sys.stderr)
        return 1.0
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return 0.0


def tf32_is_obeyed(settings: Settings) -> float:
    """How far a float32 product is from the exact one after a run that refused TF32; 1 where one that allows it is as
    near, as no matrix was multiplied faster then."""
    errors = []
    for allowed in (False, True):
        train(spec(settings.device, training={"tf32": allowed}))
        matrix = torch.randn(512, 512, dtype=torch.float64, device=settings.device)
        errors.append(distance({"": matrix.float() @ matrix.float()}, {"": matrix @ matrix}))
    exact, rounded = errors
    return exact if rounded > 10 * exact else 1.0


def flash_attention_alone(settings: Settings) -> float:
    """Concepts of rows without padding, by flash attention in bfloat16, against float32's by any."""
    vocabulary = Vocabulary(settings.vocabulary, 0, 1, 2, (0, 1, 2, 3))
    model = spec(settings.device, model=settings.model).model.build(vocabulary, 64).to(settings.device)
    ids = torch.randint(4, settings.vocabulary, (4, 64), device=settings.device)
    places = torch.arange(64, device=settings.device).expand_as(ids)
    with torch.no_grad():
        expected = model.encoder(ids, places, None)
        with torch.autocast(settings.device, torch.bfloat16), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            found = model.encoder(ids, places, None)
    return distance({"concepts": found}, {"concepts": expected})


def together(precision: str, parallel: str, *, compile: bool = False) -> Callable[[Settings], float]:
    """Weights after a run by all GPUs, or two workers on a CPU, against those of a run by one."""

    def error(settings: Settings) -> float:
        world = torch.cuda.device_count() or 2
        workers = world if world > 1 else {"min": 1, "max": 2}
        shape = {"batch": 4 * max(2, world), "micro_batch": 4, "precision": precision, "optimizer": PLAIN}
        shape["compile"] = compile
        alone, _ = train(spec(settings.device, workers=workers, training=shape))
        form = spec(settings.device, workers=workers, training=shape | {"parallel": parallel})
        with tempfile.TemporaryDirectory() as folder:
            spawn(worker, (world, form, folder), nprocs=world)
            found = load_file(f"{folder}/run/step-{STEPS:08d}/model.safetensors")
        return distance({name.removeprefix("model."): weight for name, weight in found.items()}, alone)

    return error


def worker(rank: int, world: int, form: RunSpec, folder: str) -> None:
    """One of a run by all."""
    place = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": 29511}
    os.environ |= {name: str(value) for name, value in place.items()} | {"MASTER_ADDR": "127.0.0.1"}
    if form.gpus_per_worker:
        torch.cuda.set_device(rank)
    dist.init_process_group("nccl" if form.gpus_per_worker else "gloo", rank=rank, world_size=world)
    train(form, share=(rank, world), folder=Path(folder) / "run")
    dist.destroy_process_group()


CHECKS = [
    Check("recorded models give the recorded concepts", (), recorded, 1e-4),
    Check("a run ends as on a CPU", (CUDA,), device_against_cpu, 1e-4),
    Check("float32 resumes bit for bit", (), resumed("float32"), 0.0),
    Check("bfloat16 resumes bit for bit", (CUDA,), resumed("bfloat16"), 0.0),
    Check("a compiled run ends as an eager one", (CUDA,), compiled, 1e-4),
    Check("no step waits for its device", (CUDA,), waits, 0.0),
    Check("TF32 where it is allowed, and only there", (CUDA,), tf32_is_obeyed, 1e-5),
    Check("flash attention alone runs an encoder without padding", (CUDA,), flash_attention_alone, 3e-2),
    *(
        Check(f"loss '{kind}' in {precision}", needs, kernel(kind, getattr(torch, precision)), allowed)
        for kind, needs in {"chunked": (), "liger": (CUDA, PACKAGES["liger"]), "cut": (CUDA, PACKAGES["cut"])}.items()
        for precision, allowed in (("float32", 2e-3 if kind == "cut" else 1e-4), ("bfloat16", 2e-2))    # cut: by TF32
    ),
    *(
        Check(f"all GPUs in {precision}, {parallel}, end as one", (CUDA,), together(precision, parallel), allowed)
        for precision, allowed in (("float32", 1e-4), ("bfloat16", 2e-3))
        for parallel in ("ddp", "fsdp")
    ),
    Check("all GPUs in float32, fsdp, compiled, end as one", (CUDA,), together("float32", "fsdp", compile=True), 1e-4),
]


def planned(settings: Settings) -> list[Speed]:
    """What is to be measured: each recipe in each precision, each loss, each length."""
    shortest, fast = settings.lengths[0], "float32" if CUDA in settings.missing else "bfloat16"
    ways = [("float32", False), ("bfloat16", False), ("float32", True), ("bfloat16", True)]
    rows = [Speed(recipe, shortest, *way, "auto") for recipe, way in product(RECIPES, ways)]
    rows += [Speed("tsdae/position", shortest, "bfloat16", True, kind) for kind in ("chunked", "liger", "cut")]
    longer = product(settings.lengths[1:], RECIPES)
    return rows + [Speed(recipe, length, fast, fast == "bfloat16", "auto") for length, recipe in longer]


def measured(row: Speed, settings: Settings) -> Speed:
    """The row with its figures, those of the second half of a run; or why it has none."""
    needs = {PACKAGES.get(row.loss, "")} | ({CUDA} if row.compiled or row.precision == "bfloat16" else set())
    if lacks := sorted(needs & settings.missing):
        return replace(row, note=f"skipped: needs {' and '.join(lacks)}")
    objective, decoder = RECIPES[row.recipe]
    batch = max(1, settings.batch * settings.lengths[0] // row.length)
    half = {"precision": row.precision, "compile": row.compiled, "batch": batch, "tf32": True}
    form = spec(
        settings.device,
        data={"length": row.length},
        model=settings.model | {"decoder": {"kind": decoder}, "head": {"loss": row.loss}},
        objective={"kind": objective},
        training=half | {"steps": 2 * settings.steps, "report_every": settings.steps},
    )
    cuda = settings.device == "cuda"
    try:
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        metrics = train(form, settings.vocabulary)[1][-1].metrics
    except torch.OutOfMemoryError:
        return replace(row, note="out of memory")
    except RuntimeError as fault:
        traceback.print_exc()
        return replace(row, note=f"failed: {fault}".splitlines()[0][:100])
    peak = torch.cuda.max_memory_allocated() / 2**30 if cuda else None
    wait = metrics["time/data_wait_share"]
    return replace(
        row, tokens_per_s=metrics["time/tokens_per_s"], mfu=metrics["time/mfu"], peak_gib=peak, data_wait=wait
    )


def shown_at_once(row: Row) -> Row:
    """The row itself: who watches sees how far it is, and keeps what was measured if the machine is taken away."""
    print(row, file=sys.stderr, flush=True)
    return row


def table(head: list[str], rows: list[list[str]]) -> str:
    """In Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def report(machine: dict[str, Any], checks: list[tuple[str, str, str]], speeds: list[Speed]) -> str:
    """The whole of it, in Markdown."""
    rows = [
        [one.recipe, str(one.length), one.precision, "yes" if one.compiled else "no", one.loss,
         shown(one.tokens_per_s, ",.0f"), shown(one.mfu, ".1%"), shown(one.peak_gib, ".2f"),
         shown(one.data_wait, ".1%"), one.note]
        for one in speeds
    ]
    head = ["recipe", "N", "precision", "compiled", "loss", "tokens/s", "MFU", "peak GiB", "data wait", "note"]
    said = ", ".join(f"{name} {value}" for name, value in machine.items())
    claims = table(["check", "outcome", "relative error"], [list(each) for each in checks])
    return "\n\n".join([said, claims, table(head, rows)])


def main(arguments: list[str]) -> int:
    """Exit status: 1 where a check failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="tiny models, a few steps")
    parser.add_argument("--out", default="bench_gpu", help="begins the names of the two files")
    parser.add_argument("--batch", type=int, default=256, help="rows of a step at the shortest length")
    parser.add_argument("--steps", type=int, default=20, help="timed steps of a run")
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024, 4096, 16384])
    given = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    settings = Settings(device, FULL, 50368, tuple(given.lengths), given.batch, given.steps)
    if given.tiny:
        settings = Settings(device, {}, 64, (16, 32), 4, 2)
    machine = {"torch": torch.__version__, "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
               "GPUs": torch.cuda.device_count()}
    checks = [shown_at_once(check.told(settings)) for check in CHECKS]
    speeds = [shown_at_once(measured(row, settings)) for row in planned(settings)]
    said = report(machine, checks, speeds)
    tree = {"machine": machine, "checks": checks, "speeds": [asdict(row) for row in speeds]}
    Path(f"{given.out}.md").write_text(said + "\n")
    Path(f"{given.out}.json").write_text(json.dumps(tree, indent=1))
    print(said)
    return int(any(outcome == "failed" for _, outcome, _ in checks))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
