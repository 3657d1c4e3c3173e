"""What Ray Train adds to a training step, what a second worker brings, and how long a checkpoint holds training up.

    python jobs/bench_train.py [--steps 200] [--repeats 2] [--storage /tmp/cogito-ray-train]

The debug model, one thread a worker. "bare" is the same `fit` in a process that never heard of Ray; under Ray Train it
runs in its workers and reports to it. Seconds per step are those between one report and the next, evaluation and
reporting included; the fastest counts, because other processes can only slow one down, and the median stands beside it.
Checkpoints are of models of several sizes: the stall is what training waits for, the rest is written while it goes on.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import ray.train
import torch
from ray.train.torch import TorchTrainer
from torch import nn

from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.cluster import cluster
from cogito_ray.runtime.data.ray_data_preparation import prepare
from cogito_ray.runtime.train import train_worker
from cogito_ray.sweeps.yaml_io.yaml_loader import load_run
from cogito_ray.text.data_digests import DataDigests
from cogito_ray.training.checkpoints.checkpoint_store import Checkpoints, Snapshot, State
from cogito_ray.training.training_loop import Report

RUN = Path(__file__).with_name("debug.yaml")
PARAMETERS = {"1 M": 1_000_000, "38 M": 38_000_000}
SAVES = 3


def seconds_per_step(
    job: train_worker.Job, place: train_worker.Place, forward: Callable[[dict[str, float]], None]
) -> list[float]:
    """Between each report and the next, as this worker sees it."""
    told: list[tuple[int, float]] = []

    def tell(report: Report) -> None:
        forward(report.metrics)
        told.append((report.step, time.perf_counter()))

    train_worker.train(job, tell, place)
    return [(ended - began) / (last - first) for (first, began), (last, ended) in pairwise(told)]


def bare(job: train_worker.Job) -> list[float]:
    with ProcessPoolExecutor(1, get_context("spawn")) as apart:
        return apart.submit(_bare, job).result()


def _bare(job: train_worker.Job) -> list[float]:
    return seconds_per_step(job, train_worker.Place(), lambda metrics: None)


def under_ray(job: train_worker.Job) -> list[float]:
    """As the first worker measures them."""
    found = job.folder / "seconds.json"
    TorchTrainer(
        _worker,
        train_loop_config={"job": job, "found": found},
        scaling_config=ray.train.ScalingConfig(num_workers=job.run.sizes[0], resources_per_worker={"CPU": 1}),
        run_config=ray.train.RunConfig(name=f"bench-{time.time_ns()}", storage_path=str(job.folder / "ray")),
    ).fit()
    seconds: list[float] = json.loads(found.read_text())
    return seconds


def _worker(config: dict[str, Any]) -> None:
    context = ray.train.get_context()
    place = train_worker.Place(context.get_world_rank(), context.get_world_size())
    seconds = seconds_per_step(config["job"], place, ray.train.report)
    if place.rank == 0:
        config["found"].write_text(json.dumps(seconds))


def steps(run: RunSpec, data: DataDigests, storage: Path, repeats: int) -> None:
    """The table of training steps."""
    pair = run.model_copy(update={"workers": 2})
    ways: dict[str, tuple[Callable[[train_worker.Job], list[float]], RunSpec]] = {
        "bare process": (bare, run), "Ray Train, 1 worker": (under_ray, run), "Ray Train, 2 workers": (under_ray, pair),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats):
        for name, (way, of) in ways.items():        # in turn, so that a busy minute is everybody's
            with tempfile.TemporaryDirectory(dir=storage, prefix=f"{repeat}-") as folder:
                found[name] += way(train_worker.Job(of, storage, data, Path(folder)))
    yardstick, middle = min(found["bare process"]), median(found["bare process"])
    for name, seconds in found.items():
        print(f"{name:22} {1000 * min(seconds):8.2f} ms a step (median {1000 * median(seconds):8.2f}), "
              f"{min(seconds) / yardstick:6.3f} x bare (medians {median(seconds) / middle:6.3f} x)")
    alone, together = (min(found[name]) for name in ("Ray Train, 1 worker", "Ray Train, 2 workers"))
    print(f"2 workers do {alone / together:.2f} x the steps of 1")


def stalls(folder: Path) -> None:
    """The table of checkpoints."""
    for name, parameters in PARAMETERS.items():
        model = nn.Linear(1000, parameters // 1000, bias=False)
        optimizer = torch.optim.AdamW(model.parameters())
        model(torch.ones(1, 1000)).sum().backward()
        optimizer.step()
        soon, whole = zip(*(_saved(folder / name, step, model, optimizer) for step in range(SAVES)), strict=True)
        size = 3 * model.weight.nbytes / 2**20         # and two moments
        print(f"checkpoint, {name:6} parameters ({size:6.0f} MiB): training waits {1000 * min(soon):7.1f} ms a save, "
              f"which takes {min(whole):6.2f} s in all: {100 * min(soon) / min(whole):4.1f} %")


def _saved(folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[float, float]:
    """Seconds until training goes on, and until the checkpoint stands."""
    checkpoints = Checkpoints(folder, "bench")
    began = time.perf_counter()
    checkpoints.save_in_background(Snapshot.of(State(step), model, optimizer))
    soon = time.perf_counter() - began
    checkpoints.settle()
    return soon, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", type=Path, default=Path("/tmp/cogito-ray-train"))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=2)
    asked = parser.parse_args()
    storage = asked.storage.absolute()
    run = load_run(RUN)
    training = run.training.model_copy(update={"steps": asked.steps, "checkpoint_every": asked.steps})
    evaluation = run.evaluation.model_copy(update={"rows": 16, "words": None})
    run = run.model_copy(update={"reader": "mapped", "training": training, "evaluation": evaluation})
    with cluster(dashboard=True):
        steps(run, prepare(run.data, storage).digests, storage, asked.repeats)
    with tempfile.TemporaryDirectory(dir=storage) as folder:
        stalls(Path(folder))


if __name__ == "__main__":
    main()
