"""A run that is disturbed on purpose: its driver as a process to kill, its steps to wait for, and what it left."""

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from cogito_ray.atomic_files import atomic_write_text, open_to_append
from cogito_ray.evaluation.checkpoint_loader import newest
from cogito_ray.records.ledger import CHECKPOINTS, LedgerFault
from cogito_ray.records.sweep_record import Record, Trial
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.experiment_folder import ExperimentFolder
from cogito_ray.sweeps.yaml_io.yaml_writer import dump
from cogito_ray.training.checkpoints.manifest import WEIGHTS, verify

POLL_S = 0.02
SMALLEST = 1e-30


class NoSuchStep(ValueError):
    """A run ended, or time was up, before it came to the step at which it was to be disturbed."""


@dataclass(frozen=True)
class Result:
    """What a run left: two runs that are the same leave equal results."""

    weights: dict[str, Tensor]
    rows: str
    """Names the rows it read, as its last report says."""
    step: int

    def distance(self, other: "Result") -> float:
        """|w - v| / |v| over all weights w of this one and v of the other; 0 = equal bit for bit, infinity = equal in
        value but not in bits, or no numbers."""
        if self.weights.keys() != other.weights.keys():
            raise ValueError(f"the runs hold other weights: {sorted(self.weights.keys() ^ other.weights.keys())}")
        own, others = _flat(self.weights), _flat(other.weights)
        if own.tobytes() == others.tobytes():
            return 0.0
        distance = float(np.linalg.norm(own - others)) / max(float(np.linalg.norm(others)), SMALLEST)
        return distance if distance > 0 else math.inf


@dataclass(frozen=True)
class Drill:
    """A run, and the driver that trains it."""

    run: RunSpec
    name: str
    storage: Path

    @cached_property
    def experiment(self) -> ExperimentFolder:
        """Where it is trained."""
        return ExperimentFolder.of_run(self.run, self.name, self.storage)

    def driver(self, **environment: str) -> subprocess.Popen[bytes]:
        """`cogito-ray train`, or what is left of it, in a process group of its own; what it says is in driver.log."""
        self.experiment.folder.mkdir(parents=True, exist_ok=True)
        file = self.experiment.folder / "run.yaml"
        atomic_write_text(file, dump(self.run.model_dump(mode="json")))
        arguments = ["train", str(file), "--name", self.name, "--storage", str(self.storage), "--json"]
        with open(open_to_append(self.experiment.folder / "driver.log"), "ab") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "cogito_ray", *arguments],
                env=os.environ | environment,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def record(self) -> Record | None:
        """The record so far; None while there is none to read yet."""
        with suppress(FileNotFoundError, LedgerFault), self.experiment.record.now() as record:
            return record if record.openings else None
        return None

    def trial(self) -> Trial | None:
        """What is recorded of the run; None while nothing is."""
        record = self.record()
        return record.trials.get(self.run.digest()) if record else None

    def wait_for(self, step: int, *, seconds: float, alive: Callable[[], bool] = lambda: True) -> None:
        """Return when `step` steps are reported. Raises NoSuchStep."""
        deadline = time.monotonic() + seconds
        while (trial := self.trial()) is None or trial.step < step:
            if not alive() or time.monotonic() > deadline:
                raise NoSuchStep(f"{self.experiment.folder}: step {step} was not reported, but {trial and trial.step}")
            time.sleep(POLL_S)

    @property
    def checkpoints(self) -> Path:
        """Folder of one folder a checkpoint."""
        return self.experiment.folder / CHECKPOINTS

    def weights(self) -> dict[str, Tensor]:
        """Of the newest checkpoint. FileNotFoundError where there is none, BadCheckpoint where it is torn."""
        folder = newest(self.checkpoints)
        verify(folder, [WEIGHTS])
        return load_file(folder / WEIGHTS)

    def result(self) -> Result:
        """Of a run that has ended."""
        trial = self.trial()
        if trial is None or trial.rows is None:
            raise ValueError(f"{self.experiment.ledger} tells of no report of run {self.run.digest()}")
        return Result(self.weights(), trial.rows, trial.step)


def _flat(weights: dict[str, Tensor]) -> NDArray[np.float64]:
    """All of them, one after the other."""
    return np.concatenate([weights[name].double().numpy().reshape(-1) for name in sorted(weights)])
