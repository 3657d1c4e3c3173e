"""The same twelve small trials swept three ways: wall and CPU seconds of everything, Ray's own processes included.

    python jobs/bench_sweep.py [--storage /tmp/sweeps] [--steps 60] [--ways naive practice ours]

naive     as most people write it: a TorchTrainer inside every trial, and every trial tokenises the text itself
practice  as Ray's guides advise: a plain function, text tokenised once and put into the object store, reused actors
ours      run_sweep: shards tokenised once and memory-mapped, reused actors, ledger and Optuna journal on disk

Model, rows, batches, steps, evaluation, checkpoints and trials at once are equal, and all of them use this project's
training loop, so every trial must reach the same held-out nats in all three: what differs is what surrounds training.
Each way is a process and a Ray instance of its own, with the same time for everything from import to exit. Gathering
the documents and training the tokenizer comes before, uncounted. The shorter the trials, the larger the ratios.
"""

import argparse
import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from cogito_ray.evaluation.validation.held_out_loss import HeldOutLoss
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.text.data_spec import DataSpec
from cogito_ray.text.order.row_order import RowPlan
from cogito_ray.text.preparation_plan import prepare_with, serially
from cogito_ray.text.vocabulary_info import Vocabulary
from cogito_ray.training.checkpoints.checkpoint_store import Checkpoints
from cogito_ray.training.training_loop import CorpusFacts, Report, ReportCallback, fit

CORES = os.cpu_count() or 1
NATS = "eval/reconstruction_nats"
ROWS = 64
"""Held-out ones at each report."""
SOURCES = {
    "library": {"kind": "python-docs", "part": "library"},
    "packages": {"kind": "python-docs", "part": "packages"},
}
SPACE = {
    "objective.rate": {"grid": [0.3, 0.5, 0.7]},
    "model.concepts": {"grid": [8, 16]},
    "seed": {"grid": [0, 1]},
}
EVERY_S = 0.2
"""Between two looks at the CPU time of all processes."""
Outcomes = dict[str, tuple[int, float]]
"""Digest of a run -> its last step and held-out nats."""


@dataclass(frozen=True)
class Text:
    """A tokenised corpus in memory."""

    train: np.ndarray[Any, Any]
    """(R, N) rows, unsigned."""
    held_out: np.ndarray[Any, Any]
    """(ROWS, N) int64."""
    log_unigram: np.ndarray[Any, Any]
    vocabulary: Vocabulary


def sweep(storage: Path, steps: int) -> SweepSpec:
    """Twelve runs over the documents and the tokenizer that `gather` left in `storage`."""
    [tokenizer] = (path for path in (storage / "tokenizers").iterdir() if path.is_dir())
    documents = {"kind": "files", "path": str(storage / "documents")}
    return SweepSpec.model_validate({
        "name": "ours",
        "run": {
            "data": {
                "sources": {"docs": documents},
                "tokenizer": {"kind": "pretrained", "name": str(tokenizer)},
                "length": 64,
                "held_out": 0.05,
            },
            "model": {"width": 64, "decoder": {"kind": "position"}},
            "objective": {"kind": "tsdae"},
            "training": {"steps": steps, "batch": 16, "report_every": max(1, steps // 2)},
            "evaluation": {"rows": ROWS, "word_probes": None},
        },
        "space": SPACE,
        "search": {"sampler": "grid"},
        "goals": [{"metric": NATS, "mode": "min"}],
        "budget": {"trials": 12},
        "concurrency": CORES,
    })


def runs(of: SweepSpec) -> list[RunSpec]:
    return [of.trial(cell) for cell in of.search_space.grid_points()]


def tokenised(data: DataSpec, folder: Path) -> Text:
    """As quick as a bare `encode_batch` of all documents."""
    corpus = prepare_with(serially, data, folder)
    [source] = corpus.sources
    train = source.shards.train(np.arange(source.shards.manifest.rows("train")))
    return Text(train, corpus.held_out_rows(ROWS), corpus.log_unigram, corpus.vocabulary)


def train(run: RunSpec, text: Text, folder: Path, on_report: ReportCallback) -> None:
    """One trial in one thread."""
    torch.set_num_threads(1)
    plan, batch = RowPlan((len(text.train),), (1.0,), run.seed), run.training.batch

    def rows(step: int) -> torch.Tensor:
        _, chosen = plan.take(step * batch, batch)
        return torch.from_numpy(text.train[chosen].astype(np.int64))

    fit(
        run,
        CorpusFacts(text.vocabulary, torch.tensor(text.log_unigram)),
        feed=lambda done: (rows(step) for step in range(done, run.training.steps)),
        evaluate=HeldOutLoss(torch.tensor(text.held_out), run.reference, text.vocabulary),
        on_report=on_report,
        checkpoints=Checkpoints(folder / run.digest() / "checkpoints", run.digest()),
    )


def flat(told: Report) -> dict[str, float]:
    return {"step": told.step} | told.metrics


def naive(of: SweepSpec, folder: Path) -> Outcomes:
    import ray.train
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    def worker(config: dict[str, Any]) -> None:
        run = RunSpec.model_validate(config["run"])
        text = tokenised(run.data, folder / run.digest())
        train(run, text, folder, lambda told: ray.train.report(flat(told)))

    def trial(config: dict[str, Any]) -> None:
        name = RunSpec.model_validate(config["run"]).digest()
        TorchTrainer(
            worker,
            train_loop_config=config,
            scaling_config=ray.train.ScalingConfig(num_workers=1),
            run_config=ray.train.RunConfig(
                name=name, storage_path=str(folder / "train"), callbacks=[TuneReportCallback()]  # type: ignore[list-item]
            ),
        ).fit()

    ray.init("local", num_cpus=2 * CORES)  # a trial takes one for its driver and one for its worker
    return swept(trial, of, folder, reuse=False)


def practice(of: SweepSpec, folder: Path) -> Outcomes:
    import ray
    from ray import tune

    def trial(config: dict[str, Any], text: Text) -> None:
        run = RunSpec.model_validate(config["run"])
        train(run, text, folder, lambda told: tune.report(flat(told)))

    ray.init("local", num_cpus=CORES)
    text = tokenised(runs(of)[0].data, folder / "text")
    return swept(tune.with_parameters(trial, text=text), of, folder, reuse=True)


def swept(trial: Callable[..., None], of: SweepSpec, folder: Path, *, reuse: bool) -> Outcomes:
    from ray import tune

    results: Any = tune.Tuner(
        tune.with_resources(trial, {"CPU": 1}),
        param_space={"run": tune.grid_search([run.model_dump(mode="json") for run in runs(of)])},
        tune_config=tune.TuneConfig(max_concurrent_trials=CORES, reuse_actors=reuse),
        run_config=tune.RunConfig(name="sweep", storage_path=str(folder / "tune"), verbose=0),
    ).fit()
    told = {RunSpec.model_validate(result.config["run"]).digest(): result.metrics for result in results}
    return {name: (metrics["step"], metrics[NATS]) for name, metrics in told.items()}


def ours(of: SweepSpec, folder: Path) -> Outcomes:
    from cogito_ray.runtime.tune.sweep_driver import run_sweep

    record = run_sweep(of, folder)
    return {name: (trial.step, trial.known[NATS]) for name, trial in record.trials.items()}


WAYS = {"naive": naive, "practice": practice, "ours": ours}


def gather(storage: Path) -> None:
    """The documents and a tokenizer, as files anybody could have."""
    data = DataSpec.model_validate({
        "sources": SOURCES,
        "tokenizer": {"kind": "bpe", "vocabulary": 8192},
        "length": 64,
    })
    prepare_with(serially, data, storage)


def measured(command: list[str], log: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a command and of all it starts."""
    seconds: dict[psutil.Process, float] = {}
    began = time.monotonic()
    with log.open("w") as out:
        process = psutil.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        while process.poll() is None:
            for each in [process, *process.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    used = each.cpu_times()
                    seconds[each] = used.user + used.system
            time.sleep(EVERY_S)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed; see {log}")
    return time.monotonic() - began, sum(seconds.values())


def compare(found: dict[str, Outcomes], steps: int) -> None:
    """Every way must have made the same runs, to the same end."""
    first, *others = found.values()
    assert len(first) == 12
    for way, outcomes in found.items():
        assert {step for step, _ in outcomes.values()} == {steps}, f"{way} did not train {steps} steps everywhere"
    for other in others:
        assert other.keys() == first.keys()
        for name, (_, nats) in other.items():
            assert abs(nats - first[name][1]) < 1e-3, f"run {name}: {nats} against {first[name][1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", type=Path, default=Path("/tmp/cogito-ray-sweeps"))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--only", choices=WAYS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    storage = asked.storage.absolute()
    if asked.only:
        logging.disable(logging.WARNING)
        outcomes = WAYS[asked.only](sweep(storage, asked.steps), storage / asked.only)
        (storage / f"{asked.only}.json").write_text(json.dumps(outcomes))
        return
    gather(storage)
    took: dict[str, tuple[float, float]] = {}
    found: dict[str, Outcomes] = {}
    for way in asked.ways:
        shutil.rmtree(storage / way, ignore_errors=True)
        again = [sys.executable, __file__, "--only", way, "--storage", str(storage), "--steps", str(asked.steps)]
        took[way] = measured(again, storage / f"{way}.log")
        found[way] = json.loads((storage / f"{way}.json").read_text())
        best = min(nats for _, nats in found[way].values())
        print(f"{way:9} wall {took[way][0]:6.1f} s   CPU {took[way][1]:6.1f} s   best {best:.4f} nats", flush=True)
    compare(found, asked.steps)
    wall, cpu = took[asked.ways[-1]]
    for way in asked.ways[:-1]:
        print(f"{way} over {asked.ways[-1]}: wall {took[way][0] / wall:.1f} x, CPU {took[way][1] / cpu:.1f} x")


if __name__ == "__main__":
    main()
