"""One trial of a sweep, as Tune runs it: in its own process when it needs one worker, around Ray Train when more."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray import tune
from ray.train.torch import TorchTrainer
from ray.tune import PlacementGroupFactory
from ray.tune.integration.ray_train import TuneReportCallback

from cogito_ray.run_spec import ElasticSpec, RunSpec
from cogito_ray.runtime.sweep.trial_capacity import DRIVER_CPUS
from cogito_ray.runtime.sweep.trial_outcome import death, leave, progress
from cogito_ray.runtime.train import train_worker
from cogito_ray.sweeps.sweep_spec import corpus_key
from cogito_ray.text.data_digests import DataDigests
from cogito_ray.training.guards import RunDied
from cogito_ray.training.training_loop import Report, RunLeft

LEAVE = "leave"
"""A file among the trials: while it exists, each leaves a checkpoint after its next report, and ends."""
RETRIES = 3
"""Times a lost worker group is started again, from its newest checkpoint."""


def trial(config: dict[str, Any], *, storage: Path, data: Mapping[str, DataDigests], trials: Path) -> None:
    """One worker trains in this process, which Tune may reuse for the next trial; of several, this one only waits."""
    asked = trials / LEAVE
    run = RunSpec.model_validate(config["run"])
    job = train_worker.Job(run, storage, data[corpus_key(run.data)], trials / config["trial"], asked)
    job.paused.unlink(missing_ok=True)
    if asked.exists():
        tune.report(leave(0))
    elif job.run.sizes[-1] == 1:
        _train(job, tune.report, train_worker.Place())
    else:
        trainer(job, callbacks=[TuneReportCallback()]).fit()


def resources(config: dict[str, Any]) -> PlacementGroupFactory:
    """What Tune reserves for the process that runs `trial`; a trainer's workers are reserved by Train."""
    run = RunSpec.model_validate(config["run"])
    if run.sizes[-1] > 1:
        return PlacementGroupFactory([{"CPU": DRIVER_CPUS}])
    where: dict[str, Any] = {"bundle_label_selector": [run.labels]} if run.labels else {}
    return PlacementGroupFactory([_each(run)], **where)


def _each(run: RunSpec) -> dict[str, float]:
    """What one worker reserves."""
    amounts = {"CPU": run.cpus_per_worker, "GPU": run.gpus_per_worker}
    return {name: amount for name, amount in amounts.items() if amount}


def trainer(job: train_worker.Job, *, callbacks: list[Any]) -> TorchTrainer:
    """Ray Train around `worker.train`: restarts a lost worker group, which resumes at its newest checkpoint."""
    run = job.run
    return TorchTrainer(
        _train_worker,
        train_loop_config={"job": job},
        scaling_config=_scaling(run),
        run_config=ray.train.RunConfig(
            name=f"train-{run.digest()}",
            storage_path=str(job.folder / "ray"),
            failure_config=ray.train.FailureConfig(max_failures=RETRIES, controller_failure_limit=RETRIES),  # type: ignore[call-arg]
            callbacks=callbacks,
        ),
    )


def _scaling(run: RunSpec) -> ray.train.ScalingConfig:
    fixed = ray.train.ScalingConfig(  # type: ignore[call-arg]
        num_workers=run.sizes[0],
        use_gpu=run.gpus_per_worker > 0,
        resources_per_worker=_each(run),
        label_selector=run.labels or None,
    )
    if not isinstance(run.workers, ElasticSpec):
        return fixed
    interval = run.workers.check_every_s
    span: Any = {"num_workers": (run.workers.min, run.workers.max), "elastic_resize_monitor_interval_s": interval}
    return replace(fixed, **span)


def _train_worker(config: dict[str, Any]) -> None:
    context = ray.train.get_context()
    place = train_worker.Place(context.get_world_rank(), context.get_world_size(), _is_doomed)
    _train(config["job"], ray.train.report, place)


def _is_doomed() -> bool:
    """Will the machine of a worker soon be taken away?"""
    return ray.train.get_preemption_info() is not None


def _told(report: Report) -> dict[str, Any]:
    return progress(report.step, report.metrics, rows=report.rows, notes=report.notes)


def _train(job: train_worker.Job, tell: Callable[[dict[str, Any]], None], place: train_worker.Place) -> None:
    """A run that a guard ends is reported, not raised: raising would make Ray try the same thing again."""
    try:
        train_worker.train(job, lambda report: tell(_told(report)), place)
    except RunDied as dead:
        tell(death(dead.step, str(dead)))
    except RunLeft as left:
        tell(leave(left.step))
