"""Do settings found on a small model hold on a larger one, and does a ladder foretell it? Training needs no Ray.

    python jobs/bench_transfer.py rows --text FOLDER [FOLDER ...] --out rows.safetensors        once, where the text is
    python jobs/bench_transfer.py runs --part rate --rows rows.safetensors --out rate.jsonl --minutes 8
    python jobs/bench_transfer.py runs --part settings --rows ... --known rate.jsonl --out settings.jsonl
    python jobs/bench_transfer.py runs --part ladder --rows ... --known rate.jsonl --out ladder.jsonl
    python jobs/transfer_tables.py forecast ladder.jsonl --out sealed.json
    python jobs/bench_transfer.py runs --part full --sealed sealed.json --rows ... --known rate.jsonl --out full.jsonl
    python jobs/transfer_tables.py tables rate.jsonl settings.jsonl ladder.jsonl full.jsonl --sealed sealed.json
    python jobs/bench_transfer.py runs --part rate --tiny --processes 0 --out tiny.jsonl        anywhere, in seconds

Without a GPU: `rows --length 16 --vocabulary 300`, then parts ladder and full, and the forecast, with `--core`
(`--parametrisations standard --processes 0 --recipes tsdae mlm bixt thin diffusion`): ten minutes of one idle core.

`rows`: files below the folders, prepared as a run prepares them (BPE, 3 % of documents held out): first train rows of
the plan under seed 0, held-out rows, and how frequent each token is.

`runs`: many small runs by `training_loop.fit`, in processes that share one device; each that ended is a line of JSON.
Cells (a recipe at a size) take turns, so that a stop leaves them equally far. Best rates are looked for in notches of
sqrt(2): every second one around a guess, further on beyond an edge, both neighbours of the best, the rate that is best
for the smallest size; then those near the best under the other seeds. Runs that would not end within --minutes are not
begun. Started again with what it wrote as --known, it goes on. Heads grow in number with width (--head-width). Sixteen
processes that share an H200 made 20 runs of 1,000 steps a minute; `seconds` of each line tells what yours leaves.
"""

import argparse
import hashlib
import json
import math
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import product
from multiprocessing.pool import AsyncResult, Pool, ThreadPool
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

from cogito_ray.evaluation.validation.held_out_loss import HeldOutLoss
from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.run_spec import RunSpec
from cogito_ray.testing.tiny_runs import merged
from cogito_ray.text.vocabulary_info import Vocabulary
from cogito_ray.training.guards import GuardsSpec, RunDied
from cogito_ray.training.training_loop import CorpusFacts, Report, fit

HELD_OUT, RATE = 0.03, "rate"
RECIPES: dict[str, dict[str, Any]] = {
    "tsdae": {},
    "mlm": {"objective": {"kind": "mlm", "rate": 0.5, "kept_share": 0.5}},
    "diffusion": {"objective": {"kind": "diffusion"}, "model": {"decoder": {"kind": "diffusion"}, "concepts": 4}},
    "bixt": {"model": {"encoder": {"block": {"kind": "bixt"}}}},
    "thin": {"thin": 0.25},
}
"""What each has instead of the quickstart's settings; thin: token width over concept width."""
SETTINGS: dict[str, tuple[float, ...]] = {
    "deletion": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    "variance": (0.0, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0),
    "concepts": (4, 8, 16, 32),
    "thin": (0.125, 0.25, 0.5, 1.0),
}
"""What part `settings` asks about, at the smallest and the largest width."""
FIRST, FURTHEST, NEAR = (0, -2, 2), 12, 2
"""Notches: tried first around the guess; how far from it to go; around the best, under every seed."""


@dataclass(frozen=True)
class Sizes:
    """Of the runs."""

    widths: tuple[int, ...] = (32, 64, 128, 256)
    depths: tuple[int, ...] = (2, 4, 8)
    """Those beyond the first at the second width."""
    heads: int = 4
    batch: int = 64
    steps: int = 1000
    held_out: int = 1024
    ladder: tuple[tuple[int, ...], tuple[int, ...]] = ((32, 64, 96), (1000, 2000, 4000))
    """Widths and steps."""
    full: tuple[int, int] = (192, 12_000)
    """What the ladder foretells: about 12 times the compute of its largest rung, 4 times that of all."""
    guess: int = -13
    """The best notch of the smallest width."""
    head_width: int = 16
    """0 = `heads` at every width."""
    rate_at_steps: int = 0
    """Where a notch is the rate itself, which else falls as tokens^-0.32 (arXiv:2409.19913); 0 = at any number."""
    length: int = 64
    """Of rows, in tokens."""
    tokens_per_concept: int = 4

    def heads_at(self, width: int) -> int:
        """How many a model of this width has."""
        return width // self.head_width if self.head_width else self.heads

    def rate_factor(self, steps: int) -> float:
        """By how much the learning rate of so many steps differs from the notch's."""
        return (steps / self.rate_at_steps) ** -0.32 if self.rate_at_steps else 1.0


TINY = Sizes((8, 16), (1, 2), 2, 4, 4, 8, ((8, 16, 24), (2, 3, 4)), (32, 8), head_width=4)
CORE = Sizes((64, 128), batch=32, ladder=((64,), (100, 150, 220, 330, 450)), full=(64, 5050), guess=-15,
             rate_at_steps=320, length=16, tokens_per_concept=1)  # fmt: skip
"""Of one CPU core; the ladder grows in tokens alone."""


@dataclass(frozen=True)
class Parametrisation:
    """How a model changes with its size."""

    settings: Callable[[Sizes, float], dict[str, Any]]
    """By the share that token width is of width."""
    per_doubling: float
    """Notches by which the best rate is guessed to move; 0 = the smallest width's is used at every width."""


def standard(sizes: Sizes, thin: float) -> dict[str, Any]:
    return {"kind": "standard"}


def mup(sizes: Sizes, thin: float) -> dict[str, Any]:
    width = sizes.widths[0]
    base = {"base_width": width, "base_depth": sizes.depths[0], "base_heads": sizes.heads_at(width)}
    return {"kind": "mup", **base, "base_token_width": round(thin * width)}


KINDS = {"standard": Parametrisation(standard, -1.0), "mup": Parametrisation(mup, 0.0)}


@dataclass(frozen=True)
class Cell:
    """Runs that differ in one setting alone, and in the seed."""

    axis: str
    """What differs: the rate, one of SETTINGS, or nothing (ladder, full)."""
    recipe: str
    kind: str
    width: int
    depth: int
    steps: int


@dataclass(frozen=True)
class Task:
    """One run."""

    cell: Cell
    value: float
    """Of what differs; of a rate, its notch."""
    seed: int


Done = dict[Task, float]
"""Nats that runs reached; inf where one died."""


def spec(task: Task, notch: float, sizes: Sizes, device: str) -> RunSpec:
    """The quickstart's run, but as the task says."""
    cell, concepts = task.cell, sizes.length // sizes.tokens_per_concept
    asked = {"deletion": 0.6, "variance": 0.01, "concepts": concepts, "thin": 1.0} | {cell.axis: task.value}
    recipe = merged({"objective": {"kind": "tsdae", "rate": asked["deletion"]}}, RECIPES[cell.recipe])
    thin = recipe.pop("thin", asked["thin"])
    model = {"width": cell.width, "token_width": round(thin * cell.width), "heads": sizes.heads_at(cell.width)}
    model |= {"concepts": int(asked["concepts"]), "parametrisation": KINDS[cell.kind].settings(sizes, thin)}
    parts = {"latents": {"kind": "anchored"}, "encoder": {"depth": cell.depth}, "decoder": {"kind": "position"}}
    weights = {"variance": asked["variance"]}
    base = {
        "data": {"sources": {"docs": {"kind": "python-docs", "part": "library"}}, "length": sizes.length},
        "model": model | parts,
        "loss": {"regularisers": [{"kind": "variance"}], "weighting": {"kind": "fixed", "weights": weights}},
        "training": {
            "steps": cell.steps,
            "batch": sizes.batch,
            "report_every": cell.steps,
            "optimizer": {"learning_rate": 2 ** (notch / 2) * sizes.rate_factor(cell.steps)},
            "schedule": {"kind": "wsd", "warmup_steps": cell.steps // 20},
            "guards": dict.fromkeys(GuardsSpec.model_fields),
        },
        "seed": task.seed,
        "gpus_per_worker": float(device == "cuda"),
    }
    return RunSpec.model_validate(merged(base, recipe))


class Trainer:
    """Trains tasks in this process, whose rows are read once."""

    def __init__(self, rows: Path | None, sizes: Sizes):
        torch.set_num_threads(1)
        self.device, self.sizes = "cuda" if torch.cuda.is_available() else "cpu", sizes
        self.vocabulary, self.log_unigram, self.train, held_out = read_rows(rows)
        self.held_out = torch.from_numpy(held_out[: sizes.held_out].astype(np.int64))
        self.measured = cache(self._measured)

    def _measured(self, reference: ObjectiveSpec) -> HeldOutLoss:
        return HeldOutLoss(self.held_out, reference, self.vocabulary)

    def feed(self, run: RunSpec) -> Iterator[Tensor]:
        """Batches (B, N) in an order of the seed's own, another one in each epoch; the same under every setting."""
        for epoch in range(run.training.steps):
            order = np.random.default_rng((run.seed, epoch)).permutation(len(self.train))
            for start in range(0, len(order) - run.training.batch + 1, run.training.batch):
                yield torch.from_numpy(self.train[order[start : start + run.training.batch]].astype(np.int64))

    def __call__(self, task: Task, notch: float) -> dict[str, Any]:
        """What a line of the file holds."""
        run, began, told = spec(task, notch, self.sizes, self.device), time.perf_counter(), list[Report]()
        facts, measured = CorpusFacts(self.vocabulary, self.log_unigram), self.measured(run.reference)
        line = asdict(task) | {"notch": notch, "nats": None, "cause": ""}
        try:
            fit(run, facts, feed=lambda done: self.feed(run), evaluate=measured, on_report=told.append)
            line["nats"] = told[-1].metrics["eval/reconstruction_nats"]
        except RunDied as died:
            line["cause"] = died.cause
        length, seconds = self.sizes.length, time.perf_counter() - began
        tokens = run.training.steps * run.training.batch * length
        size = {"parameters": run.model.parameters(length), "tokens": tokens, "length": length}
        return line | size | {"seconds": seconds}


def read_rows(file: Path | None) -> tuple[Vocabulary, Tensor, np.ndarray, np.ndarray]:
    """Vocabulary, log frequencies (V,), train and held-out rows (R, N); random ones without a file."""
    if file is None:
        rows = np.random.default_rng(0).integers(4, 64, (200, Sizes.length))
        return Vocabulary(64, 0, 1, 2, (0, 1, 2, 3)), torch.zeros(64), rows[:100], rows[100:]
    with safe_open(file, "np") as held:
        facts = json.loads(held.metadata()["vocabulary"])
        vocabulary = Vocabulary(**facts | {"special_ids": tuple(facts["special_ids"])})
        log_unigram = torch.from_numpy(held.get_tensor("log_unigram"))
        return vocabulary, log_unigram, held.get_tensor("train"), held.get_tensor("held_out")


def write_rows(given: argparse.Namespace) -> None:
    """From text to one file of a few megabytes."""
    from cogito_ray.text.data_spec import DataSpec
    from cogito_ray.text.memory_mapped_reader import MappedReader
    from cogito_ray.text.preparation_plan import prepare_with, serially

    sources = {path.name: {"kind": "files", "path": str(path), "weight": "size"} for path in given.text}
    tokenizer = {"kind": "bpe", "vocabulary": given.vocabulary}
    tree = {"sources": sources, "tokenizer": tokenizer, "length": given.length, "held_out": HELD_OUT}
    data = DataSpec.model_validate(tree)
    with tempfile.TemporaryDirectory(dir=given.out.parent) as storage:
        corpus = prepare_with(serially, data, Path(storage))
        read = MappedReader(corpus, corpus.plan(0)).at(np.arange(given.train))
        kept = {"train": read, "held_out": corpus.held_out_rows(Sizes.held_out).astype(read.dtype)}
        facts = asdict(replace(corpus.vocabulary, collocations=None))
        facts.pop("collocations")
        told = {"vocabulary": json.dumps(facts), "data": corpus.digests.digest(), "sources": json.dumps(sources)}
        save_file(kept | {"log_unigram": corpus.log_unigram}, given.out, metadata=told)


def best(cell: Cell, done: Done) -> float | None:
    """The value with the least mean over those seeds under which most values near it ran."""
    seeds: dict[float, list[float]] = {}
    for task, nats in done.items():
        if task.cell == cell:
            seeds.setdefault(task.value, []).append(nats)
    most = max(map(len, seeds.values()), default=0)
    means = {value: fmean(nats) for value, nats in seeds.items() if len(nats) == most}
    return min(means, key=lambda value: means[value]) if means else None


def smaller(cell: Cell, sizes: Sizes) -> Cell:
    """The cell whose best rate this one is tried with: of the least depth, or else of the least width."""
    if cell.depth > sizes.depths[0]:
        return replace(cell, depth=sizes.depths[0])
    return replace(cell, width=sizes.widths[0])


def guess(cell: Cell, sizes: Sizes) -> int:
    """The best notch, before anything is known."""
    doublings = math.log2(cell.width / sizes.widths[0])
    return sizes.guess + round(KINDS[cell.kind].per_doubling * doublings)


def usual_notch(cell: Cell, done: Done, sizes: Sizes) -> float:
    """The rate for runs that ask about something else: the best known one, of this recipe or else of tsdae's, at the
    nearest width, or, where the parametrisation is to make it the same at all, at the smallest."""
    width = cell.width if KINDS[cell.kind].per_doubling else sizes.widths[0]
    seen = [task.cell for task in done if (task.cell.axis, task.cell.depth) == (RATE, sizes.depths[0])]
    for recipe in (cell.recipe, "tsdae"):
        if same := [one for one in seen if (one.recipe, one.kind) == (recipe, cell.kind)]:
            nearest = min(same, key=lambda one: (abs(math.log(one.width / width)), one.width))
            return best(nearest, done) or guess(cell, sizes)
    return guess(cell, sizes)


def rates(cell: Cell, done: Done, seeds: int, sizes: Sizes) -> list[tuple[float, int]]:
    """(notch, seed) to be run next, all at once; none where the cell is done. In the order told at the top."""
    curve = {task.value: nats for task, nats in done.items() if task.cell == cell and task.seed == 0}
    centre = guess(cell, sizes)
    first: list[tuple[float, int]] = [(centre + away, 0) for away in FIRST]
    if any(notch not in curve for notch, _ in first):
        return first
    low, high, least = min(curve), max(curve), min(curve, key=lambda notch: curve[notch])
    if least == low and centre - low < FURTHEST:
        return [(low - 2, 0)]
    if least == high and high - centre < FURTHEST:
        return [(high + 2, 0)]
    beside = [(least + away, 0) for away in (-1, 1)]
    if any(notch not in curve for notch, _ in beside):
        return beside
    near = {least + away for away in range(-NEAR, NEAR + 1)}
    near |= {transferred} if (transferred := best(smaller(cell, sizes), done)) is not None else set()
    return [(notch, seed) for seed in range(seeds) for notch in sorted(near, key=lambda one: abs(one - least))]


def wanted(cell: Cell, done: Done, seeds: int, sizes: Sizes) -> list[tuple[float, int]]:
    """(value, seed) of the cell's runs that may begin now."""
    if cell.axis == RATE:
        return rates(cell, done, seeds, sizes)
    return [(value, seed) for seed in range(seeds) for value in SETTINGS.get(cell.axis, (0.0,))]


def upcoming(cells: Sequence[Cell], done: Done, running: Iterable[Task], seeds: int, sizes: Sizes) -> Iterator[Task]:
    """What may begin now, first of those cells of which least has begun."""
    begun = [task.cell for task in (*done, *running)]
    for cell in sorted(cells, key=begun.count):
        tasks = (Task(cell, *each) for each in wanted(cell, done, seeds, sizes))
        yield from (task for task in tasks if task not in done and task not in running)


def cells_of(part: str, given: argparse.Namespace, sizes: Sizes) -> list[Cell]:
    """Those of a part of this benchmark."""
    (narrow, *_, wide), depth = sizes.widths, sizes.depths[0]
    shapes = {
        RATE: [(RATE, w, depth, sizes.steps) for w in sizes.widths]
        + [(RATE, sizes.widths[1], d, sizes.steps) for d in sizes.depths[1:]],
        "settings": [(axis, w, depth, sizes.steps) for axis in SETTINGS for w in (narrow, wide)],
        "ladder": [("ladder", w, depth, steps) for w, steps in product(*sizes.ladder)],
        "full": [("full", sizes.full[0], depth, sizes.full[1])],
    }
    return [
        Cell(axis, recipe, kind, *shape)
        for (axis, *shape), kind, recipe in product(shapes[part], given.parametrisations, given.recipes)
    ]


class Clock:
    """Whether a run would end in time, by those that have ended."""

    def __init__(self, minutes: float):
        self.end, self._steps = time.perf_counter() + 60 * minutes, dict[tuple[str, int, int], float]()

    def ended(self, task: Task, seconds: float) -> None:
        """One has, in so many seconds."""
        shape = (task.cell.recipe, task.cell.width, task.cell.depth)
        self._steps[shape] = max(self._steps.get(shape, 0.0), seconds / task.cell.steps)

    def allows(self, task: Task) -> bool:
        """Taken for as slow as the slowest of its size, or of all."""
        cell = task.cell
        step = self._steps.get((cell.recipe, cell.width, cell.depth), max(self._steps.values(), default=0.0))
        return time.perf_counter() + 1.1 * step * cell.steps < self.end


_trainer: Trainer


def _start(rows: Path | None, sizes: Sizes) -> None:
    global _trainer
    _trainer = Trainer(rows, sizes)


def _train(task: Task, notch: float) -> dict[str, Any]:
    return _trainer(task, notch)


def sizes_of(given: argparse.Namespace) -> Sizes:
    """Those that are asked for, and the length of the rows."""
    length = read_rows(given.rows)[2].shape[1]
    return replace(Sizes(), length=length, steps=given.steps, batch=given.batch, head_width=given.head_width)


def run_all(given: argparse.Namespace) -> None:
    """Runs of a part, as many as the time allows."""
    sizes = TINY if given.tiny else CORE if given.core else sizes_of(given)
    cells = cells_of(given.part, given, sizes)
    seal = {"seal": intact(given.sealed)["sha256"]} if given.part == "full" else {}
    for cell in cells:          # refused here, before anything is spent
        spec(Task(cell, *wanted(cell, {}, 1, sizes)[0]), guess(cell, sizes), sizes, "cpu")
    workers = multiprocessing.get_context("spawn").Pool if given.processes else ThreadPool
    with workers(max(1, given.processes), _start, (given.rows, sizes)) as pool:
        schedule(cells, given, sizes, seal, pool)       # leaving the pool ends what is still under way


def schedule(cells: list[Cell], given: argparse.Namespace, sizes: Sizes, seal: dict[str, str], pool: Pool) -> None:
    """Begins runs while there is time for them, and writes down what each comes to."""
    done, clock, running = known(given.known), Clock(given.minutes), dict[Task, AsyncResult[dict[str, Any]]]()
    with given.out.open("a") as file:
        while time.perf_counter() < clock.end:
            for task in upcoming(cells, done, running, given.seeds, sizes):
                if len(running) >= max(1, given.processes):
                    break
                if clock.allows(task):
                    notch = task.value if task.cell.axis == RATE else usual_notch(task.cell, done, sizes)
                    running[task] = pool.apply_async(_train, (task, notch))
            ended = {task: result.get() for task, result in running.items() if result.ready()}
            for task, line in ended.items():
                del running[task]
                clock.ended(task, line["seconds"])
                done[task] = math.inf if line["nats"] is None else line["nats"]
                print(json.dumps(line | seal), file=file, flush=True)
            if not (running or ended):
                break
            time.sleep(0.01)


def lines_of(files: Iterable[Path]) -> list[dict[str, Any]]:
    """Of all files, each run once."""
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return list({task_of(line): line for line in lines}.values())


def task_of(line: dict[str, Any]) -> Task:
    return Task(Cell(**line["cell"]), line["value"], line["seed"])


def known(files: Iterable[Path]) -> Done:
    """What earlier runs reached."""
    return {task_of(line): math.inf if line["nats"] is None else line["nats"] for line in lines_of(files)}


def hashed(tree: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def intact(file: Path | None) -> dict[str, Any]:
    """A sealed forecast. SystemExit where there is none, or it was changed."""
    if file is None or not file.exists():
        raise SystemExit("--sealed: full runs wait for their forecast; write it first: bench_transfer.py forecast")
    sealed: dict[str, Any] = json.loads(file.read_text())
    if hashed({name: value for name, value in sealed.items() if name != "sha256"}) != sealed["sha256"]:
        raise SystemExit(f"{file}: was changed after it was sealed")
    return sealed


def parsed(arguments: list[str]) -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    rows, runs = commands.add_parser("rows"), commands.add_parser("runs")
    rows.set_defaults(call=write_rows)
    rows.add_argument("--text", type=Path, nargs="+", required=True, help="folders of Parquet files, and the like")
    rows.add_argument("--train", type=int, default=180_000, help="train rows")
    rows.add_argument("--vocabulary", type=int, default=8192)
    rows.add_argument("--length", type=int, default=Sizes.length)
    rows.add_argument("--out", type=Path, required=True)
    runs.set_defaults(call=run_all)
    runs.add_argument("--part", choices=[RATE, "settings", "ladder", "full"], required=True)
    runs.add_argument("--rows", type=Path, help="of `rows`; random ones without")
    runs.add_argument("--out", type=Path, required=True, help="a line of JSON a run, appended")
    runs.add_argument("--known", type=Path, nargs="*", default=[], help="what was written before")
    runs.add_argument("--sealed", type=Path, help="the forecast of full runs")
    runs.add_argument("--minutes", type=float, default=8.0)
    runs.add_argument("--processes", type=int, default=16, help="side by side; 0 = in this one")
    runs.add_argument("--parametrisations", choices=list(KINDS), nargs="+", default=list(KINDS))
    runs.add_argument("--recipes", choices=list(RECIPES), nargs="+", default=["tsdae"])
    runs.add_argument("--seeds", type=int, default=1)
    runs.add_argument("--steps", type=int, default=Sizes.steps, help="of parts rate and settings")
    runs.add_argument("--batch", type=int, default=Sizes.batch, help="rows of a step")
    runs.add_argument("--head-width", type=int, default=Sizes.head_width, help="0 = 4 heads at every width")
    runs.add_argument("--core", action="store_true", help="sizes for one CPU core: rows of 16 tokens, 300 entries")
    runs.add_argument("--tiny", action="store_true", help="models and runs of no use but for a trial")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Exit status."""
    given = parsed(arguments)
    given.call(given)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
