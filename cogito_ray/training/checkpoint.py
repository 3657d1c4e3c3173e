"""Checkpoints that are whole or not there: written under a temporary name, their manifest of hashes last.

A checkpoint is a folder `step-00000300` of model.safetensors, optimizer.pt, state.json and manifest.json. Resuming
takes the newest one whose hashes hold; a torn or altered one is named and passed over.
"""

import hashlib
import json
import logging
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import nn
from torch.optim import Optimizer

from cogito_ray.training.guards import Seen
from cogito_ray.training.rows import NONE_READ

log = logging.getLogger(__name__)
MANIFEST, WEIGHTS = "manifest.json", "model.safetensors"


class BadCheckpoint(ValueError):
    """A checkpoint that cannot be used: torn, altered, or of another run."""


@dataclass(frozen=True)
class State:
    """Where a run stands, besides its weights and its optimizer."""

    step: int = 0
    rollbacks: int = 0
    """Times it has gone back because it diverged; each made the learning rate smaller."""
    seen: tuple[Seen, ...] = ()
    """Reports that guards look back on."""
    rows: str = NONE_READ
    """Names the rows read so far (see `training.rows`)."""
    origin: str = ""
    """Names the weights it started from (see `training.start_from`); empty where all were random."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run, in one folder."""

    folder: Path
    run_digest: str
    """Digest of the RunSpec they belong to; another run's checkpoints are refused."""
    keep: int = 2
    """Newest ones kept."""

    def save(self, state: State, module: nn.Module, optimizer: Optimizer) -> Path:
        """Write the state, in place of an earlier one of the same step, then drop all but the newest `keep`."""
        final, partial = self.folder / f"step-{state.step:08d}", self.folder / f".partial-{state.step:08d}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_model(module, str(partial / WEIGHTS))
        torch.save(optimizer.state_dict(), partial / "optimizer.pt")
        (partial / "state.json").write_text(json.dumps({"run": self.run_digest} | asdict(state)))
        _seal(partial)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        for old in self._newest_first()[self.keep :]:
            shutil.rmtree(old)
        return final

    def newest(self) -> Path | None:
        """The newest whole checkpoint, if any; warns of newer, bad ones."""
        for folder in self._newest_first():
            try:
                verify(folder)
            except BadCheckpoint as fault:
                log.warning("checkpoint passed over: %s", fault)
            else:
                return folder
        return None

    def resume(self, module: nn.Module, optimizer: Optimizer) -> State | None:
        """Load the newest whole checkpoint and return its state (None: there is none); warn of newer, bad ones."""
        newest = self.newest()
        return self._load(newest, module, optimizer) if newest else None

    def _load(self, folder: Path, module: nn.Module, optimizer: Optimizer) -> State:
        state = json.loads((folder / "state.json").read_text())
        if state["run"] != self.run_digest:
            raise BadCheckpoint(
                f"{folder} belongs to run {state['run']}, not {self.run_digest}: "
                "train under another name, or delete the folder to start anew"
            )
        load_model(module, str(folder / WEIGHTS), strict=True)
        optimizer.load_state_dict(torch.load(folder / "optimizer.pt", weights_only=True, map_location="cpu"))
        seen = tuple(Seen(**report) for report in state["seen"])
        return State(int(state["step"]), int(state["rollbacks"]), seen, str(state["rows"]), str(state["origin"]))

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"), reverse=True)


def verify(folder: Path) -> None:
    """Raise BadCheckpoint, naming the file, unless every file of the checkpoint is there and has its recorded hash."""
    try:
        hashes: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    except (FileNotFoundError, json.JSONDecodeError) as missing:
        raise BadCheckpoint(f"{folder / MANIFEST}: missing or torn, so the checkpoint was not finished") from missing
    for name, expected in hashes.items():
        path = folder / name
        if not path.is_file():
            raise BadCheckpoint(f"{path}: missing")
        if (found := sha256(path)) != expected:
            raise BadCheckpoint(f"{path}: altered (sha256 {found[:12]}, the manifest says {expected[:12]})")


def _seal(folder: Path) -> None:
    """Write the manifest of hashes, and everything to disk, before the folder gets its final name."""
    hashes = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(json.dumps(hashes, indent=1))
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
