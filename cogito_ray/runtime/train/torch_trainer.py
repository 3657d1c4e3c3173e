"""Ray Train's trainer around a run: one process a worker, started again when one is lost."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ray.train
import torch
from ray._private.ray_constants import LOG_PREFIX_ACTOR_NAME, RAY_ADDRESS_ENVIRONMENT_VARIABLE
from ray.train import UserCallback
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.constants import ENV_VARS_TO_PROPAGATE

from cogito_ray.atomic_files import atomic_write_text
from cogito_ray.run_spec import ElasticSpec, RunSpec
from cogito_ray.runtime.train import peak_memory, train_worker
from cogito_ray.runtime.trial_recorder import death, paused, progress
from cogito_ray.sweeps.budget_spec import PEAK
from cogito_ray.sweeps.statistics.memory_forecast import OUT_OF_MEMORY, lacks_memory
from cogito_ray.training.guards import RunDied
from cogito_ray.training.training_loop import Report, RunPreempted

LEAVING = "its machine will be taken away"


class MachineLeaves(Exception):
    """A run has left a checkpoint to go on from elsewhere."""


RETRIES = 3
"""Times a lost worker group is started again, from its newest checkpoint."""


def trainer(job: train_worker.Job, *, callbacks: list[Any]) -> TorchTrainer:
    """Ray Train around `worker.train`: restarts a lost worker group, which resumes at its newest checkpoint."""
    run, told = job.run, [*callbacks, _MemoryCallback(job)]
    job.starved.unlink(missing_ok=True)
    return _AddressedTrainer(
        _train_worker,
        train_loop_config={"job": job},
        scaling_config=_scaling(run),
        run_config=ray.train.RunConfig(
            name=f"{job.experiment.replace('/', '-')}-{run.digest()}",
            storage_path=str(job.folder / "ray"),
            failure_config=ray.train.FailureConfig(max_failures=RETRIES, controller_failure_limit=RETRIES),  # type: ignore[call-arg]
            callbacks=told,
        ),
    )


class _AddressedTrainer(TorchTrainer):
    """Ray Train's processes ask Ray's dashboard whether each other live. Left alone, they ask that of the instance that
    `ray start` began last on this machine: one that is gone they wait for, and one of others knows none of ours, whose
    places are then taken away."""

    def fit(self) -> ray.train.Result:
        before, name = os.environ.get(RAY_ADDRESS_ENVIRONMENT_VARIABLE), RAY_ADDRESS_ENVIRONMENT_VARIABLE
        ENV_VARS_TO_PROPAGATE.add(name)
        os.environ[name] = ray.get_runtime_context().gcs_address
        try:
            return super().fit()
        finally:
            del os.environ[name]
            os.environ.update({name: before} if before is not None else {})


class _MemoryCallback(UserCallback):
    """Ray Train starts all workers again where one ran out of memory, or was killed because of it: then they learn that
    here, and end. Lives in Train's controller process."""

    def __init__(self, job: train_worker.Job):
        self._starved, self._step = job.starved, 0

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        self._step = int(metrics[0]["step"])

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        for rank, fault in worker_exceptions.items():
            said = f"{type(fault).__name__}: {fault}"
            if lacks_memory(said):
                line = next(line for line in said.splitlines() if lacks_memory(line))
                self._starved.parent.mkdir(parents=True, exist_ok=True)
                atomic_write_text(self._starved, f"{self._step} {OUT_OF_MEMORY}: worker {rank}: {line}")


def _scaling(run: RunSpec) -> ray.train.ScalingConfig:
    fixed = ray.train.ScalingConfig(  # type: ignore[call-arg]
        num_workers=run.sizes[0],
        use_gpu=run.gpus_per_worker > 0,
        resources_per_worker=reserved(run),
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
    train_reporting(config["job"], ray.train.report, place)


def _is_doomed() -> bool:
    """Will the machine of a worker soon be taken away?"""
    return ray.train.get_preemption_info() is not None


def _as_result(report: Report) -> dict[str, Any]:
    return progress(report.step, report.metrics, rows=report.rows, notes=report.notes)


def train_reporting(job: train_worker.Job, tell: Callable[[dict[str, Any]], None], place: train_worker.Place) -> None:
    """A run that a guard ends, or that lacks memory, is reported, not raised: raising would make Ray try the same thing
    again. Of several workers the one that lacks memory raises, for the others would wait for it.

    MachineLeaves where it left because its machine will be taken away: nothing else is to run in this process."""
    step = 0

    def report_all(report: Report) -> None:
        nonlocal step
        step = report.step
        measured = {PEAK: peak_memory.peak_gb()} if report.metrics else {}
        tell(_as_result(replace(report, metrics=report.metrics | measured)))

    label_output(job.label if place.world == 1 else f"{job.label}, worker {place.rank}")
    if job.starved.exists():
        at, _, cause = job.starved.read_text().partition(" ")
        tell(death(int(at), cause))
        return
    peak_memory.begin()
    try:
        train_worker.train(job, report_all, place)
    except RunDied as dead:
        tell(death(dead.step, str(dead)))
    except (MemoryError, RuntimeError) as fault:    # torch's own is of the latter kind
        if place.world > 1 or not lacks_memory(said := f"{type(fault).__name__}: {fault}"):
            raise
        torch.cuda.empty_cache()    # for the next trial in this process
        tell(death(step, f"{OUT_OF_MEMORY}: {said.splitlines()[0]}"))
    except RunPreempted as left:
        if place.leaves and place.is_doomed():
            raise MachineLeaves(LEAVING) from left
        tell(paused(left.step))


def label_output(who: str) -> None:
    """What this process prints from now on is whose: Ray's monitor of logs reads it off the output."""
    for stream in (sys.stdout, sys.stderr):
        stream.write(f"{LOG_PREFIX_ACTOR_NAME}{who}\n")
        stream.flush()


def reserved(run: RunSpec) -> dict[str, float]:
    """What one worker reserves."""
    amounts = {"CPU": run.cpus_per_worker, "GPU": run.gpus_per_worker}
    return {name: amount for name, amount in amounts.items() if amount}
