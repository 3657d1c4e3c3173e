"""Sends a record to Weights & Biases (wandb) in a process of its own: a tracker that dies or hangs touches no training.

A sweep becomes a group, a trial a run in it that is named by its digest. What was sent is noted in the record's folder,
so publishing again, or while the sweep grows, sends only what is new. WANDB_MODE=offline writes files for `wandb sync`.
"""

import json
import re
from pathlib import Path
from typing import Any

from cogito_ray.atomic_files import atomic_write_text
from cogito_ray.records.ledger import NAME, Status
from cogito_ray.records.sweep_record import Record, SharedRecord, Trial

SENT = "published.json"
"""Reports sent per trial, and whether its end was, in the record's folder."""


PROJECT = re.compile(r"[^/\\#?%:\x00-\x1f]{1,128}")


class NoTracker(ValueError):
    """The tracker's library is not installed, or the tracker takes nothing from here."""


def project_name(name: str) -> str:
    """`name`; ValueError where no project may be called so."""
    if not PROJECT.fullmatch(name):
        raise ValueError("a project of Weights & Biases has 1 to 128 characters, and none of / \\ # ? % :")
    return name


class Publisher:
    """Sends a record as it grows, reading every event once. ValueError for what is no project's name."""

    def __init__(self, folder: Path, project: str):
        self._folder, self._project, self._record = folder, project_name(project), SharedRecord(folder / NAME)

    def publish(self) -> Record:
        """Send what the ledger holds and the project has not; the record that was read."""
        with self._record.now() as record:
            if not record.openings:
                raise record.unopened()
            _publish(record, self._folder, self._project)
            return record


def publish(folder: Path, project: str) -> Record:
    """Send what the ledger in `folder` holds and `project` has not; the record that was read."""
    return Publisher(folder, project).publish()


def _publish(record: Record, folder: Path, project: str) -> None:
    note = folder / SENT
    sent: dict[str, dict[str, int]] = json.loads(note.read_text()) if note.exists() else {}
    known = sent.setdefault(project, {})
    for trial in record.trials.values():
        if (due := len(trial.reports) + (trial.end is not None)) > known.get(trial.id, 0):
            _send(record, trial, folder, project, after=known.get(trial.id, 0))
            known[trial.id] = due
            atomic_write_text(note, json.dumps(sent, indent=1))


def _send(record: Record, trial: Trial, folder: Path, project: str, *, after: int) -> None:
    """The trial's reports from number `after` on, and how it ended, if it has."""
    name, wandb = str(record.opened.spec.get("name", folder.name)), _wandb()
    try:
        run = wandb.init(
            project=project,
            group=name,
            id=trial.id,
            name=f"{name}-{trial.number}",
            config={"sample": trial.sample, "run": trial.spec},
            dir=folder,
            resume="allow",
            reinit="create_new",
            settings={"console": "off", "silent": True, "x_disable_stats": True},
        )
    except wandb.Error as fault:
        raise NoTracker(
            f"wandb: {fault} Or set WANDB_API_KEY; with WANDB_MODE=offline, files for `wandb sync` are written instead"
        ) from fault
    run.define_metric("*", step_metric="step")  # a run that went back reports steps again, which wandb's own would drop
    for step, report in sorted(trial.reports.items())[after:]:
        run.log({"step": step} | report.metrics)
    if trial.end is not None:
        run.summary.update({"status": trial.end.status, "cause": trial.end.cause})
    run.finish(exit_code=int(trial.status is Status.FAILED))


def _wandb() -> Any:
    try:
        import wandb
    except ImportError as missing:
        raise NoTracker("publishing needs wandb: pip install wandb") from missing
    return wandb
