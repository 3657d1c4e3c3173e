"""One trial of a sweep, as Tune runs it: in its own process when it needs one worker, around Ray Train when more."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import PlacementGroupFactory
from ray.tune.integration.ray_train import TuneReportCallback

from cogito_ray.object_storage.storage_mirror import join
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.cluster import is_leaving
from cogito_ray.runtime.control_files import PREEMPT, is_raised, lower_flag
from cogito_ray.runtime.train import train_worker
from cogito_ray.runtime.train.torch_trainer import LEAVING, MachineLeaves, reserved, train_reporting, trainer
from cogito_ray.runtime.trial_capacity import DRIVER_CPUS
from cogito_ray.runtime.trial_recorder import paused
from cogito_ray.text.data_digests import DataDigests
from cogito_ray.text.data_spec import corpus_key


def trial(
    config: dict[str, Any], *, storage: Path, url: str | None, data: Mapping[str, DataDigests], trials: Path
) -> None:
    """One worker trains in this process, which Tune may reuse for the next trial; of several, this one only waits."""
    join(storage, url)
    preempt = trials / PREEMPT
    run = RunSpec.model_validate(config["run"])
    folder, label = trials / config["trial"], f"trial {config['number']}"
    job = train_worker.Job(run, storage, data[corpus_key(run.data)], folder, preempt, label, url)
    lower_flag(job.paused)
    if is_raised(preempt):
        tune.report(paused(0))
    elif _is_doomed():
        raise MachineLeaves(LEAVING)    # a process that Tune had kept for the next trial
    elif job.run.sizes[-1] == 1:
        train_reporting(job, tune.report, train_worker.Place(is_doomed=_is_doomed, leaves=True))
    else:
        trainer(job, callbacks=[TuneReportCallback()]).fit()


def _is_doomed() -> bool:
    return is_leaving(ray.get_runtime_context().get_node_id())


def resources(config: dict[str, Any]) -> PlacementGroupFactory:
    """What Tune reserves for the process that runs `trial`; a trainer's workers are reserved by Train."""
    run = RunSpec.model_validate(config["run"])
    if run.sizes[-1] > 1:
        return PlacementGroupFactory([{"CPU": DRIVER_CPUS}])
    where: dict[str, Any] = {"bundle_label_selector": [run.labels]} if run.labels else {}
    return PlacementGroupFactory([reserved(run)], **where)
