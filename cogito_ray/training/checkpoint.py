"""Checkpoints that are whole or not there: written under a temporary name, their manifest of hashes last.

A checkpoint is a folder `step-00000300` of model.safetensors, optimizer.pt, state.json and manifest.json. Resuming
takes the newest one whose hashes hold; a torn or altered one is named and passed over. Training waits only for a copy
in memory: a thread hashes and writes it, and another one uploads it. A full disk costs that checkpoint, not the run.
"""

import copy
import hashlib
import io
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import safe_open
from safetensors.torch import save as packed
from torch import Tensor, nn
from torch.optim import Optimizer

from cogito_ray.text.digests import DataDigests
from cogito_ray.training.guards import Seen
from cogito_ray.training.retention import CheckpointsSpec, Standing, kept
from cogito_ray.training.rows import NONE_READ
from cogito_ray.training.upload import Remote, Uploads

log = logging.getLogger(__name__)
MANIFEST, WEIGHTS, OPTIMIZER, STATE = "manifest.json", "model.safetensors", "optimizer.pt", "state.json"
PARTIAL = ".partial-"


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
    data: DataDigests | None = None
    """What it reads; None for rows of no prepared corpus."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What the state.json of a checkpoint says."""
        told = json.loads((folder / STATE).read_text())
        return cls(
            step=int(told["step"]),
            rollbacks=int(told["rollbacks"]),
            seen=tuple(Seen(**report) for report in told["seen"]),
            rows=str(told["rows"]),
            origin=str(told["origin"]),
            data=DataDigests(**data) if (data := told.get("data")) else None,
        )


@dataclass(frozen=True)
class Snapshot:
    """A run's whole state in memory of its own, which training no longer touches."""

    state: State
    weights: Mapping[str, Tensor]
    shared: Mapping[str, str]
    """Names of weights that are stored under another name."""
    optimizer: dict[str, Any]

    @classmethod
    def of(cls, state: State, module: nn.Module, optimizer: Optimizer) -> Self:
        return cls.copied(state, module.state_dict(), optimizer.state_dict())

    @classmethod
    def copied(cls, state: State, named: Mapping[str, Tensor], optimizer: Mapping[str, Any]) -> Self:
        """Of weights by name, which may share memory, and of an optimizer's state."""
        weights: dict[str, Tensor] = {}
        shared: dict[str, str] = {}
        names: dict[tuple[int, torch.Size], str] = {}
        for name, tensor in sorted(named.items()):
            first = names.setdefault((tensor.data_ptr(), tensor.shape), name) if tensor.numel() else name
            if first == name:
                weights[name] = _copied(tensor)
            else:
                shared[name] = first
        return cls(state, weights, shared, _copied(dict(optimizer)))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What a checkpoint holds, weights under all their names."""
        weights = named_weights(folder / WEIGHTS)
        optimizer = torch.load(folder / OPTIMIZER, weights_only=True, map_location="cpu")
        return cls(State.read(folder), weights, {}, optimizer)

    def load(self, module: nn.Module, optimizer: Optimizer) -> None:
        """Into a module and an optimizer that have exactly these weights."""
        module.load_state_dict(self.weights)
        optimizer.load_state_dict(self.optimizer)


def bytes_of(module: nn.Module) -> int:
    """Of a checkpoint of this module, give or take a little: its weights, and two moments of each that is trained."""
    return sum(p.numel() * p.element_size() * (3 if p.requires_grad else 1) for p in module.parameters())


@dataclass(frozen=True)
class Origin:
    """A checkpoint of another run, whose state a run takes over whole."""

    folder: Path
    run: str
    """Digest of the other run."""

    def read(self) -> Snapshot:
        """Guards begin anew: losses of other settings are not what they look back on. BadCheckpoint unless whole."""
        verify(self.folder)
        _refuse_another_run(self.folder, self.run)
        found = Snapshot.read(self.folder)
        return replace(found, state=replace(found.state, seen=()))


class Checkpoints:
    """The checkpoints of one run, in one folder. `note` is told what went wrong with them."""

    def __init__(
        self,
        folder: Path,
        run_digest: str,
        spec: CheckpointsSpec = CheckpointsSpec(),  # noqa: B008 (frozen)
        note: Callable[[str], None] = log.warning,
        *,
        origin: Origin | None = None,
    ):
        """`origin`: where the run branches off; it is read while there is no checkpoint of its own."""
        self.folder, self.run_digest, self.spec, self._note, self._origin = folder, run_digest, spec, note, origin
        self._remote = Remote(spec.upload, run_digest) if spec.upload else None
        self._uploads = Uploads(self._remote, note, last=MANIFEST) if self._remote else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[Path] | None = None
        self._last: tuple[Snapshot, float | None] | None = None
        self._trouble = ""

    def save(self, state: State, module: nn.Module, optimizer: Optimizer, score: float | None = None) -> Path:
        """Write the state, in place of an earlier one of the same step, then drop what need not stay."""
        self.settle()
        folder = self._write(Snapshot.of(state, module, optimizer), score)
        self.settle()
        return folder

    def save_soon(self, snapshot: Snapshot, score: float | None = None) -> None:
        """The same, in the background, once the one before is done. What cannot be written is told, not raised."""
        self.wait_written()
        self._last = snapshot, score
        self._writing = self._thread.submit(self._write, snapshot, score)

    def insist(self) -> None:
        """Write the last checkpoint again if it could not be written. Raises OSError if it still cannot."""
        if not self.wait_written() and self._last is not None:
            self._write(*self._last)
        self.settle()

    def settle(self) -> bool:
        """Wait for what is being written and uploaded; whether the last checkpoint was written."""
        written = self.wait_written()
        if self._uploads is not None:
            self._uploads.settle()
        return written

    def wait_written(self) -> bool:
        """Wait for what is being written; whether the last checkpoint was."""
        writing, self._writing = self._writing, None
        if writing is not None:
            fault = writing.exception()
            if isinstance(fault, OSError):
                self._tell(f"checkpoint not written, training goes on with the one before: {fault}")
            elif fault is not None:
                raise fault
            else:
                self._trouble, self._last = "", None
        return not self._trouble

    def newest(self) -> Path | None:
        """The newest whole checkpoint, if any, from wherever it is; warns of newer, bad ones."""
        self.settle()
        self._fetch()
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
        found = self.load()
        if found is None:
            return None
        found.load(module, optimizer)
        return found.state

    def load(self) -> Snapshot | None:
        """What the newest whole checkpoint holds, else the origin's. BadCheckpoint if it belongs to another run."""
        folder = self.newest()
        if folder is None:
            return self._origin.read() if self._origin else None
        _refuse_another_run(folder, self.run_digest)
        return Snapshot.read(folder)

    def _tell(self, trouble: str) -> None:
        """Once for each trouble, however often it comes."""
        if trouble != self._trouble:
            self._note(trouble)
        self._trouble = trouble

    def _write(self, snapshot: Snapshot, score: float | None) -> Path:
        step = snapshot.state.step
        final, partial = folder_of(self.folder, step), self.folder / f"{PARTIAL}{step:08d}"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            (partial / WEIGHTS).write_bytes(packed(dict(snapshot.weights), dict(snapshot.shared) or None))
            (partial / OPTIMIZER).write_bytes(_pickled(snapshot.optimizer))
            state = {"run": self.run_digest, "score": score} | asdict(snapshot.state)
            (partial / STATE).write_text(json.dumps(state))
            _seal(partial)
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        standing = {_standing(folder): folder for folder in self._newest_first() if (folder / STATE).is_file()}
        stay = {standing[one] for one in kept(list(standing), self.spec)}
        if self._uploads is not None:
            self._uploads.send(final, keep=stay)
        on_its_way = self._uploads.under_way if self._uploads else None
        for folder in set(standing.values()) - stay - {on_its_way}:
            shutil.rmtree(folder)
        return final

    def _fetch(self) -> None:
        """Bring what is newer elsewhere than here. A filesystem that cannot be reached matters if nothing is here."""
        here = self._newest_first()
        try:
            elsewhere = self._remote.whole(MANIFEST) if self._remote else []
            newer = [name for name in elsewhere if not here or name > here[0].name]
            if self._remote and newer:
                self._bring(self._remote, max(newer))
        except OSError as fault:
            if not here:
                raise
            self._note(f"no checkpoint could be fetched, the newest here is used: {fault}")

    def _bring(self, remote: Remote, name: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=self.folder))
        remote.get(name, partial)
        try:
            partial.rename(self.folder / name)
        except OSError:  # another worker was faster
            shutil.rmtree(partial)

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"), reverse=True)


def folder_of(checkpoints: Path, step: int) -> Path:
    """Where the checkpoint of a step stands among those of its run: it is there when it is whole."""
    return checkpoints / f"step-{step:08d}"


def _refuse_another_run(folder: Path, expected: str) -> None:
    run = json.loads((folder / STATE).read_text())["run"]
    if run != expected:
        raise BadCheckpoint(
            f"{folder} belongs to run {run}, not {expected}: "
            "train under another name, or delete the folder to start anew"
        )


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


def named_weights(file: Path) -> dict[str, Tensor]:
    """The weights in a checkpoint's file, under all their names."""
    with safe_open(file, framework="pt") as opened:
        shared = opened.metadata() or {}
        weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
    return weights | {name: weights[kept] for name, kept in shared.items() if kept in weights}


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _standing(folder: Path) -> Standing:
    state = json.loads((folder / STATE).read_text())
    return Standing(state["step"], sum(file.stat().st_size for file in folder.iterdir()), state["score"])


def _copied(tree: Any) -> Any:
    """Tensors in host memory of their own; what holds them, likewise."""
    if isinstance(tree, Tensor):
        return tree.detach().to("cpu", copy=True)
    if isinstance(tree, dict):
        return {key: _copied(value) for key, value in tree.items()}
    return copy.deepcopy(tree)


def _pickled(tree: dict[str, Any]) -> bytes:
    """In memory first: torch's own writer does not say that a disk is full."""
    buffer = io.BytesIO()
    torch.save(tree, buffer)
    return buffer.getvalue()


def _seal(folder: Path) -> None:
    """Write the manifest of hashes, and everything to disk, before the folder gets its final name."""
    hashes = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(json.dumps(hashes, indent=1))
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
