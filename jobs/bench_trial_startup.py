"""Seconds from a trial's launch to its first optimizer step: plain trial, reused trial actor, nested TorchTrainer.

    python jobs/bench_trial_startup.py [--storage /tmp/startup] [--trials 3]

Launch is the moment the searcher is asked; the first step is taken to be done when the driver hears of it (the run
reports every step and evaluates 16 rows). Trials run one after another; ratios are against the reused actor. This is
what a sweep of short trials pays per trial, whatever it trains.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import PlacementGroupFactory
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.search import Searcher

from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.cluster import cluster
from cogito_ray.runtime.data.ray_data_preparation import prepare
from cogito_ray.runtime.train import train_worker
from cogito_ray.runtime.train.torch_trainer import trainer
from cogito_ray.runtime.trial_capacity import DRIVER_CPUS
from cogito_ray.runtime.tune.trainable import resources, trial
from cogito_ray.sweeps.yaml_io.yaml_loader import load_run
from cogito_ray.text.data_digests import DataDigests
from cogito_ray.text.data_spec import corpus_key

RUN = Path(__file__).with_name("debug.yaml")


def nested(config: dict[str, Any], *, storage: Path, data: Mapping[str, DataDigests], trials: Path) -> None:
    """A trainer of its own for however many workers."""
    run = RunSpec.model_validate(config["run"])
    job = train_worker.Job(run, storage, data[corpus_key(run.data)], trials / config["trial"])
    trainer(job, callbacks=[TuneReportCallback()]).fit()


def driver_only(config: dict[str, Any]) -> PlacementGroupFactory:
    return PlacementGroupFactory([{"CPU": DRIVER_CPUS}])


class Seeds(Searcher):
    """The same run under other seeds, and when each was asked for."""

    def __init__(self, run: RunSpec, name: str):
        super().__init__()
        self.run, self.name, self.asked = run, name, list[float]()

    def suggest(self, trial_id: str) -> dict[str, Any]:
        run = self.run.model_copy(update={"seed": len(self.asked)})
        self.asked.append(time.monotonic())
        return {"trial": f"{self.name}-{run.seed}", "run": run.model_dump(mode="json")}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to learn."""


class FirstSteps(tune.Callback):
    """When the driver first heard of each trial."""

    def __init__(self) -> None:
        self.heard: dict[str, float] = {}

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
        self.heard.setdefault(trial.trial_id, time.monotonic())


def seconds(
    body: Callable[..., None],
    needs: Callable[..., Any],
    run: RunSpec,
    *,
    storage: Path,
    data: Mapping[str, DataDigests],
    reuse: bool,
    trials: int,
) -> list[float]:
    """From launch to first step, of each trial in turn."""
    name = f"{time.time_ns()}"
    searcher, steps = Seeds(run, name), FirstSteps()
    tune.Tuner(
        tune.with_resources(partial(body, storage=storage, data=data, trials=storage / "trials"), needs),
        tune_config=tune.TuneConfig(
            search_alg=searcher, num_samples=trials, max_concurrent_trials=1, reuse_actors=reuse
        ),
        run_config=tune.RunConfig(name=name, storage_path=str(storage / "tune"), callbacks=[steps], verbose=0),
    ).fit()
    return [heard - asked for asked, heard in zip(searcher.asked, steps.heard.values(), strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", type=Path, default=Path("/tmp/cogito-ray-startup"))
    parser.add_argument("--trials", type=int, default=3)
    asked = parser.parse_args()
    run = load_run(RUN)
    training = run.training.model_copy(update={"steps": 2, "report_every": 1})
    evaluation = run.evaluation.model_copy(update={"rows": 16})
    run = run.model_copy(update={"reader": "mapped", "training": training, "evaluation": evaluation})
    pair = run.model_copy(update={"workers": 2})
    with cluster(dashboard=True):
        data = {corpus_key(run.data): prepare(run.data, asked.storage).digests}
        measure = partial(seconds, storage=asked.storage, data=data)
        reused = measure(trial, resources, run, reuse=True, trials=asked.trials + 1)
        rows = {
            "reused trial actor": reused[1:],
            "plain trial, new process": measure(trial, resources, run, reuse=False, trials=asked.trials),
            "nested TorchTrainer, 1 worker": measure(nested, driver_only, run, reuse=False, trials=asked.trials),
            "nested TorchTrainer, 2 workers": measure(nested, driver_only, pair, reuse=False, trials=asked.trials),
        }
    yardstick = statistics.median(rows["reused trial actor"])
    for name, found in rows.items():
        middle = statistics.median(found)
        spread = f"{min(found):.2f} to {max(found):.2f}"
        print(f"{name:32} {middle:6.2f} s ({spread}), {middle / yardstick:5.1f} x the reused actor")


if __name__ == "__main__":
    main()
