"""What trackers are sent, a kind each: a run a trial, grouped by experiment. Their libraries are imported when used."""

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cogito_ray.base_spec import TrackerName
from cogito_ray.records.ledger import Status
from cogito_ray.sweeps.space.domains import Sample
from cogito_ray.sweeps.space.dotted_paths import Tree
from cogito_ray.sweeps.yaml_io.yaml_writer import dump

PROJECT = re.compile(r"[^/\\#?%:\x00-\x1f]{1,128}")
LONGEST_TAG = 5000
"""Characters that MLflow stores in one."""


class NoTracker(ValueError):
    """The tracker's library is not installed, or the tracker takes nothing from here."""


def project_name(name: str) -> str:
    """`name`; ValueError where no project may be called so."""
    if not PROJECT.fullmatch(name):
        raise ValueError("a project of Weights & Biases has 1 to 128 characters, and none of / \\ # ? % :")
    return name


@dataclass(frozen=True)
class TrackedRun:
    """A trial, as trackers know it."""

    id: str
    """Digest of its settings."""
    name: str
    group: str
    """The experiment's name."""
    tags: tuple[str, ...]
    """What it is besides a trial of the search."""
    sample: Sample
    spec: Tree


class Wandb:
    """Weights & Biases. WANDB_MODE=offline writes files for `wandb sync`."""

    def __init__(self, folder: Path, project: str):
        """`folder`: the experiment's."""
        self._folder, self._project, self._open = folder, project_name(project), dict[str, Any]()
        try:
            import wandb
        except ImportError as missing:
            raise NoTracker("publishing needs wandb: pip install wandb") from missing
        self._wandb = wandb

    def _run(self, run: TrackedRun) -> Any:
        if run.id not in self._open:
            try:
                self._open[run.id] = opened = self._wandb.init(
                    project=self._project,
                    group=run.group,
                    id=run.id,
                    name=run.name,
                    tags=run.tags,
                    config={"sample": run.sample, "run": run.spec},
                    dir=self._folder,
                    resume="allow",
                    reinit="create_new",
                    settings={"console": "off", "silent": True, "x_disable_stats": True},
                )
            except self._wandb.Error as fault:
                raise NoTracker(
                    f"wandb: {fault} Or set WANDB_API_KEY; with WANDB_MODE=offline, files for `wandb sync` are written "
                    "instead"
                ) from fault
            opened.define_metric("*", step_metric="step")  # a run that went back reports steps again
        return self._open[run.id]

    def url(self, run: TrackedRun) -> str:
        """Offline, its folder."""
        return str(self._run(run).url or Path(self._run(run).dir).parent)

    def log(self, run: TrackedRun, step: int, metrics: Mapping[str, float]) -> None:
        """By step, not by wandb's own count, which drops those that come again."""
        self._run(run).log({"step": step, **metrics})

    def score(self, run: TrackedRun, step: int, scores: Mapping[str, float]) -> None:
        """Into the summary."""
        self._run(run).summary.update(dict(scores))

    def end(self, run: TrackedRun, status: Status, cause: str) -> None:
        """Finishes it, as failed where it has."""
        self._run(run).summary.update({"status": status, "cause": cause})
        self._open.pop(run.id).finish(exit_code=int(status is Status.FAILED))

    def close(self) -> None:
        """Finishes those that run still; they are taken up again."""
        while self._open:
            self._open.popitem()[1].finish()


class Mlflow:
    """MLflow, at MLFLOW_TRACKING_URI, else in a database of the storage: `mlflow ui --backend-store-uri`."""

    def __init__(self, folder: Path, project: str):
        try:
            from mlflow import MlflowClient, entities
            from mlflow.exceptions import MlflowException
        except ImportError as missing:
            raise NoTracker("tracking by MLflow needs it: pip install mlflow-skinny") from missing
        self._where = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{folder.absolute().parent / 'mlflow.db'}")
        self._entities, self._ids = entities, dict[str, str]()
        try:
            self._client = MlflowClient(tracking_uri=self._where)
            known = self._client.get_experiment_by_name(project)
            self._experiment = known.experiment_id if known else self._client.create_experiment(project)
        except MlflowException as fault:
            raise NoTracker(f"mlflow: {fault}; is MLFLOW_TRACKING_URI right?") from fault

    def _id(self, run: TrackedRun) -> str:
        if run.id not in self._ids:
            named = f"tags.cogito_run = '{run.id}' and tags.cogito_experiment = '{run.group}'"
            found = self._client.search_runs([self._experiment], named)
            self._ids[run.id] = (found[0] if found else self._created(run)).info.run_id
        return self._ids[run.id]

    def _created(self, run: TrackedRun) -> Any:
        tags = {"cogito_run": run.id, "cogito_experiment": run.group, **dict.fromkeys(run.tags, "yes")}
        tags["mlflow.note.content"] = f"```yaml\n{dump(run.spec)}"[:LONGEST_TAG] + "\n```"
        made = self._client.create_run(self._experiment, run_name=run.name, tags=tags)
        params = [self._entities.Param(name, str(value)) for name, value in run.sample.items()]
        self._client.log_batch(made.info.run_id, params=params)
        return made

    def url(self, run: TrackedRun) -> str:
        """A page where there is a server, else the database."""
        page = f"{self._where}/#/experiments/{self._experiment}/runs/{self._id(run)}"
        return page if self._where.startswith("http") else f"{self._where}, run {self._id(run)}"

    def log(self, run: TrackedRun, step: int, metrics: Mapping[str, float]) -> None:
        """In one request."""
        now = int(time.time() * 1000)
        listed = [self._entities.Metric(name, value, now, step) for name, value in metrics.items()]
        self._client.log_batch(self._id(run), metrics=listed)

    def score(self, run: TrackedRun, step: int, scores: Mapping[str, float]) -> None:
        """As metrics of this step."""
        self.log(run, step, scores)

    def end(self, run: TrackedRun, status: Status, cause: str) -> None:
        """Ends it, as failed or killed where it did not complete."""
        words = {Status.COMPLETED: "FINISHED", Status.FAILED: "FAILED"}
        for key, value in {"status": status, "cause": cause}.items():
            self._client.set_tag(self._id(run), key, value[:LONGEST_TAG])
        self._client.set_terminated(self._id(run), words.get(status, "KILLED"))

    def close(self) -> None:
        """Nothing is left."""


class Tensorboard:
    """Event files in the experiment's folder: `tensorboard --logdir FOLDER/tensorboard`."""

    def __init__(self, folder: Path, project: str):
        from tensorboardX import SummaryWriter

        self._folder, self._writer, self._open = folder.absolute() / "tensorboard", SummaryWriter, dict[str, Any]()

    def _run(self, run: TrackedRun) -> Any:
        if run.id not in self._open:
            apart = f".{time.time_ns()}"    # else one that is opened within a second of another takes its file
            self._open[run.id] = self._writer(self.url(run), filename_suffix=apart)
            told: Tree = {"run": run.id, "experiment": run.group, "tags": [*run.tags], "sample": {**run.sample}}
            self._open[run.id].add_text("settings", f"```yaml\n{dump(told | {'spec': run.spec})}```")
        return self._open[run.id]

    def url(self, run: TrackedRun) -> str:
        """Its folder."""
        return str(self._folder / run.name)

    def log(self, run: TrackedRun, step: int, metrics: Mapping[str, float]) -> None:
        """A scalar each."""
        for name, value in metrics.items():
            self._run(run).add_scalar(name, value, step)

    def score(self, run: TrackedRun, step: int, scores: Mapping[str, float]) -> None:
        """A scalar each."""
        self.log(run, step, scores)

    def end(self, run: TrackedRun, status: Status, cause: str) -> None:
        """Says how, in words."""
        self._run(run).add_text("status", f"{status} {cause}".strip())
        self._open.pop(run.id).close()

    def close(self) -> None:
        """Writes what is in memory."""
        while self._open:
            self._open.popitem()[1].close()


TRACKERS: dict[TrackerName, type[Wandb] | type[Mlflow] | type[Tensorboard]] = {
    "wandb": Wandb,
    "mlflow": Mlflow,
    "tensorboard": Tensorboard,
}
