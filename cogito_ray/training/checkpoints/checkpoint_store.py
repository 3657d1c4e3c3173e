"""Checkpoints that are whole or not there: written under a temporary name, their manifest of hashes last.

A checkpoint is a folder `step-00000300` of model.safetensors, optimizer.pt (or shards, see
`training.checkpoints.sharded_snapshot`), state.json and manifest.json. Resuming takes the newest one whose hashes hold;
a torn or altered one is named and set aside. Which one that is, a run's first worker says, and all others read just
that. Training waits only for a copy in memory: a thread hashes and writes it, and another one uploads it. A full disk
costs that checkpoint, not the run.
"""

import copy
import io
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar
from uuid import uuid4

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import safe_open
from safetensors.torch import save as packed
from torch import Tensor, nn
from torch.optim import Optimizer

from cogito_ray.object_storage.storage_mirror import fetch, mirror_of
from cogito_ray.text.data_digests import DataDigests
from cogito_ray.training.checkpoints.checkpoint_retention import CheckpointsSpec, StoredCheckpoint, retained
from cogito_ray.training.checkpoints.checkpoint_upload import Remote, RemoteFolder, Uploader, stored_folders
from cogito_ray.training.checkpoints.manifest import (
    MANIFEST,
    OPTIMIZER,
    STATE,
    WEIGHTS,
    BadCheckpoint,
    retry_within,
    seal,
    sha256,
    verify,
)
from cogito_ray.training.guards import GuardReport
from cogito_ray.training.row_fingerprint import NONE_READ

log = logging.getLogger(__name__)
T = TypeVar("T")
PARTIAL, REPLACED, DAMAGED = ".partial-", ".replaced-", "damaged-"
"""Begin the names of folders that are not whole yet, that a new checkpoint of their step is about to replace, and that
were passed over."""
SHARED_WITHIN_S = 5.0
"""After so long, a folder in which a worker does not find the first worker's checkpoint is taken for a disk of its own,
and an uploaded copy is read."""


@dataclass(frozen=True)
class State:
    """The state of a run, besides its weights and its optimizer: what state.json holds."""

    step: int = 0
    rollbacks: int = 0
    """Times it has gone back because it diverged; each made the learning rate smaller."""
    seen: tuple[GuardReport, ...] = ()
    """Reports that guards look back on."""
    rows: str = NONE_READ
    """Names the rows read so far (see `training.row_fingerprint`)."""
    origin: str = ""
    """Names the weights it started from (see `training.checkpoints.initial_weights`); empty where all were random."""
    multipliers: str = ""
    """Of the model (see `nn.model.ModelSpec.multipliers`), with which its weights mean what they do."""
    data: DataDigests | None = None
    """What it reads; None for rows of no prepared corpus."""
    score: float | None = None
    """Of the metric by which the best checkpoints are chosen, if that was measured at this step."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """That of a checkpoint. BadCheckpoint where it is none of this version's."""
        tree = _stored(folder)
        try:
            return TypeAdapter(cls).validate_python(tree)
        except ValidationError as fault:
            lines = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in fault.errors())
            raise BadCheckpoint(f"{folder / STATE}: {lines}; it was written by another version") from fault


class Writable(Protocol):
    """A run's state in memory of its own, which training no longer touches: whole, or this worker's shards of it."""

    @property
    def state(self) -> State:
        """All but weights and optimizer."""

    def write(self, draft: AbstractContextManager[Path], checkpoints: Path) -> None:
        """Its files into the folder that `draft` gives, one of `checkpoints`. OSError where that cannot be."""


@dataclass(frozen=True)
class Restored:
    """A checkpoint that was read: its state, and what loads the rest of it."""

    state: State
    load: Callable[[], None]


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
        """A copy in host memory of everything that a checkpoint holds. A tensor under several names (a tied table) is
        stored once, under the first: safetensors refuses tensors that share memory."""
        weights: dict[str, Tensor] = {}
        shared: dict[str, str] = {}
        names: dict[tuple[int, torch.Size], str] = {}
        for name, tensor in sorted(module.state_dict().items()):
            first = names.setdefault((tensor.data_ptr(), tensor.shape), name) if tensor.numel() else name
            if first == name:
                weights[name] = copied(tensor)
            else:
                shared[name] = first
        return cls(state, weights, shared, copied(optimizer.state_dict()))

    @classmethod
    def read(cls, folder: Path, state: State) -> Self:
        """What a checkpoint holds besides its state, weights under all their names."""
        optimizer = torch.load(folder / OPTIMIZER, weights_only=True, map_location="cpu")
        return cls(state, named_weights(folder / WEIGHTS), {}, optimizer)

    def write(self, draft: AbstractContextManager[Path], checkpoints: Path) -> None:
        """As its only writer."""
        with draft as folder:
            (folder / WEIGHTS).write_bytes(packed(dict(self.weights), dict(self.shared) or None))
            (folder / OPTIMIZER).write_bytes(_pickled(self.optimizer))

    def load(self, module: nn.Module, optimizer: Optimizer) -> None:
        """Into a module and an optimizer that have exactly these weights."""
        module.load_state_dict(self.weights)
        optimizer.load_state_dict(self.optimizer)


def bytes_of(module: nn.Module, moments: int = 2) -> int:
    """Of a checkpoint of this module, give or take a little: its weights, and the moments of each that is trained."""
    return sum(p.numel() * p.element_size() * (1 + p.requires_grad * moments) for p in module.parameters())


@dataclass(frozen=True)
class BranchPoint:
    """A checkpoint of another run, whose state a run takes over whole. Guards begin anew: losses of other settings are
    not what they look back on."""

    folder: Path
    run: str
    """Digest of the other run."""


@dataclass(frozen=True)
class ChosenCheckpoint:
    """The one checkpoint that all workers of a run go on from."""

    step: int | None
    """Of this run; None: the one of the run it branches off."""
    manifest: str
    """SHA-256 of its manifest, which names the content of every file."""

    def read(self, folder: Path, read: Callable[[Path, State], T]) -> T:
        """What `read` makes of `folder`, which holds it whole."""
        state = State.read(folder)
        return read(folder, replace(state, seen=()) if self.step is None else state)

    def read_whole(self, folder: Path, read: Callable[[Path, State], T]) -> T:
        """BadCheckpoint unless `folder` holds this very checkpoint, whole."""
        verify(folder)
        if (found := sha256(folder / MANIFEST)) != self.manifest:
            raise BadCheckpoint(f"{folder / MANIFEST}: of another one (sha256 {found[:12]}, not {self.manifest[:12]})")
        return self.read(folder, read)


class Checkpoints:
    """The checkpoints of one run, in one folder. `note` is told what went wrong with them."""

    def __init__(
        self,
        folder: Path,
        run_digest: str,
        spec: CheckpointsSpec = CheckpointsSpec(),  # noqa: B008 (frozen)
        note: Callable[[str], None] = log.warning,
        *,
        origin: BranchPoint | None = None,
        took: Callable[[float], None] = lambda _: None,
    ):
        """`origin`: where the run branches off; it is read while there is no checkpoint of its own. `took`: told how
        many seconds each took to be written."""
        self._chosen: ChosenCheckpoint | None = None
        self.folder, self.run_digest, self.spec, self._note, self._origin = folder, run_digest, spec, note, origin
        self._took = took
        self._stored = stored_folders(folder, last=MANIFEST)
        self._remote: Remote | None = self._stored or (RemoteFolder(spec.upload, run_digest) if spec.upload else None)
        self._uploads = Uploader(self._remote, note, last=MANIFEST) if self._remote else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[Path] | None = None
        self._last: Writable | None = None
        self._trouble = ""

    def save(self, state: State, module: nn.Module, optimizer: Optimizer) -> Path:
        """Write the state, in place of an earlier one of the same step, then drop what need not stay."""
        self.settle()
        folder = self._write(Snapshot.of(state, module, optimizer))
        self.settle()
        return folder

    def save_in_background(self, snapshot: Writable) -> None:
        """The same, in the background, once the one before is done. What cannot be written is told, not raised."""
        self.wait_written()
        self._last = snapshot
        self._writing = self._thread.submit(self._write, snapshot)

    def retry_last(self) -> None:
        """Write the last checkpoint again if it could not be written. Raises OSError if it still cannot."""
        if not self.wait_written() and self._last is not None:
            self._write(self._last)
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
                self._note_once(f"checkpoint not written, training goes on with the one before: {fault}")
            elif fault is not None:
                raise fault
            else:
                self._trouble, self._last = "", None
        return not self._trouble

    def choose(self) -> ChosenCheckpoint | None:
        """Asked of the first worker: the newest whole checkpoint, from wherever it is, else the origin, else none.

        Newer, damaged ones are noted and set aside, and what processes that were killed left undone is tidied up.
        BadCheckpoint where the checkpoint belongs to another run, or the origin is not whole.
        """
        self.settle()
        self._tidy_up()
        folder = self._newest_whole()
        tried: set[str] = set()
        while (name := self._fetch(tried)) is not None:     # a copy may be torn as well: then the one before
            tried.add(name)
            folder = self._newest_whole()
        if folder is not None:
            _refuse_another_run(folder, self.run_digest)
            self._chosen = ChosenCheckpoint(State.read(folder).step, sha256(folder / MANIFEST))
        elif self._origin is not None:
            fetch(self._origin.folder, last=MANIFEST)
            verify(self._origin.folder)
            _refuse_another_run(self._origin.folder, self._origin.run)
            self._chosen = ChosenCheckpoint(None, sha256(self._origin.folder / MANIFEST))
        return self._chosen

    def read(
        self, choice: ChosenCheckpoint, read: Callable[[Path, State], T], *, within_s: float = 0.0
    ) -> T:
        """What `read` makes of what the first worker chose. Where it is not seen, it is waited for so many seconds.

        BadCheckpoint after that, saying what is seen instead.
        """
        folder = self._place(choice)
        if choice == self._chosen:                      # its hashes were asked when it was chosen
            return choice.read(folder, read)
        began, alone_after_s = time.monotonic(), min(SHARED_WITHIN_S, within_s / 2)

        def look() -> T:
            try:
                return choice.read_whole(folder, read)
            except (BadCheckpoint, OSError):
                if choice.step is None or self._remote is None or time.monotonic() - began < alone_after_s:
                    raise
                return self._read_copy(choice, read, folder.name)

        try:
            return retry_within(look, within_s)
        except (BadCheckpoint, OSError) as fault:
            raise BadCheckpoint(
                f"{folder}: the run goes on from this checkpoint, which the first worker sees, but this one does not, "
                f"after {within_s:g} s: {fault}. Give all workers one folder that each of them sees, or set "
                "training.checkpoints.upload"
            ) from fault

    def resume(self, module: nn.Module, optimizer: Optimizer) -> State | None:
        """As the only worker: load what is chosen and return its state (None: there is none)."""
        choice = self.choose()
        if choice is None:
            return None
        found = self.read(choice, Snapshot.read)
        found.load(module, optimizer)
        return found.state

    def _tidy_up(self) -> None:
        self._put_back()
        for partial in self.folder.glob(f"{PARTIAL}*"):
            shutil.rmtree(partial, ignore_errors=True)

    def _put_back(self) -> None:
        """What was to be replaced, where no new one came in its place."""
        for old in self.folder.glob(f"{REPLACED}*"):
            place = self.folder / old.name.removeprefix(REPLACED)
            if place.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.rename(place)

    def _newest_whole(self) -> Path | None:
        """Sets damaged ones aside on the way: they would be counted among those that stay, in the place of others."""
        for folder in self._newest_first():
            try:
                verify(folder)
            except BadCheckpoint as fault:
                aside = self.folder / f"{DAMAGED}{folder.name}"
                shutil.rmtree(aside, ignore_errors=True)
                folder.rename(aside)
                self._note(f"checkpoint passed over, and set aside as {aside.name}: {fault}")
            else:
                return folder
        return None

    def _place(self, choice: ChosenCheckpoint) -> Path:
        """Where this worker has to look for it: the same folder on another machine's disk, for what one can know."""
        if choice.step is not None:
            return folder_of(self.folder, choice.step)
        assert self._origin is not None
        return self._origin.folder

    def _read_copy(self, choice: ChosenCheckpoint, read: Callable[[Path, State], T], name: str) -> T:
        """The choice from where it was uploaded to. BadCheckpoint or OSError while it has not arrived there."""
        assert self._remote is not None
        partial = self._partial(name)
        try:
            self._remote.get(name, partial)
            return choice.read_whole(partial, read)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _note_once(self, trouble: str) -> None:
        """Once for each trouble, however often it comes."""
        if trouble != self._trouble:
            self._note(trouble)
        self._trouble = trouble

    def _write(self, snapshot: Writable) -> Path:
        began = time.monotonic()
        snapshot.write(self._draft(snapshot.state), self.folder)
        self._took(time.monotonic() - began)
        return folder_of(self.folder, snapshot.state.step)

    @contextmanager
    def _draft(self, state: State) -> Iterator[Path]:
        """A new folder, which becomes the checkpoint of `state` when the block ends. Where it fails, none is left."""
        final = folder_of(self.folder, state.step)
        partial = self._partial(final.name)
        try:
            yield partial
            (partial / STATE).write_text(json.dumps({"run": self.run_digest} | asdict(state)))
            seal(partial)
            self._publish(partial, final)
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        self._written(final)

    def _publish(self, partial: Path, final: Path) -> None:
        """At no moment is there neither the old checkpoint of the step nor the new one (see `_put_back`)."""
        replaced = self.folder / f"{REPLACED}{final.name}"
        if final.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            final.rename(replaced)
        try:
            partial.rename(final)
        except OSError:
            self._put_back()
            raise
        shutil.rmtree(replaced, ignore_errors=True)

    def _written(self, final: Path) -> None:
        """Send the newest checkpoint away, and delete what need not stay."""
        stored = _stored_checkpoints(self._newest_first())
        stay = {stored[one] for one in retained(list(stored), self.spec)}
        if self._uploads is not None:
            self._uploads.send(final, keep=stay)
        on_its_way = self._uploads.under_way if self._uploads else None
        for folder in set(stored.values()) - stay - {on_its_way}:
            try:
                remove(folder)
            except FileNotFoundError:                   # another process was faster
                continue
            except OSError as fault:
                self._note(f"{folder} need not stay, but cannot be deleted: {fault}")

    def _partial(self, name: str) -> Path:
        """A new folder for what is not whole yet. No other process has it, not even one that was given up for dead."""
        partial = self.folder / f"{PARTIAL}{name}-{uuid4().hex[:8]}"
        partial.mkdir(parents=True)
        return partial

    def _fetch(self, tried: set[str]) -> str | None:
        """Bring what is newest elsewhere and newer than here, but for what was tried; its name. A filesystem that
        cannot be reached matters if nothing is here."""
        here = self._newest_first()
        try:
            elsewhere = self._remote.complete(MANIFEST) if self._remote else []
            newer = [name for name in elsewhere if name not in tried and (not here or name > here[0].name)]
            if self._stored is not None:    # all: what is not here is deleted there when it is settled what stays
                newer = [name for name in elsewhere if name not in tried and not (self.folder / name).exists()]
            if self._remote and newer:
                self._bring(self._remote, name := max(newer))
                return name
        except OSError as fault:
            if not here:
                raise
            self._note(f"no checkpoint could be fetched, the newest here is used: {fault}")
        return None

    def _bring(self, remote: Remote, name: str) -> None:
        partial = self._partial(name)
        try:
            remote.get(name, partial)
            partial.rename(self.folder / name)
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"), reverse=True)


def folder_of(checkpoints: Path, step: int) -> Path:
    """Where the checkpoint of a step stands among those of its run: it is there when it is whole."""
    return checkpoints / f"step-{step:08d}"


def is_written(folder: Path) -> bool:
    """Is there a checkpoint in this folder, for every machine?"""
    mirror = mirror_of(folder)
    return folder.is_dir() if mirror is None else mirror.store.exists(mirror.name_of(folder / MANIFEST))


def remove(folder: Path) -> None:
    """Delete a checkpoint. Whoever looks sees it whole or not at all. OSError where that cannot be."""
    gone = folder.with_name(f"{PARTIAL}{folder.name}-{uuid4().hex[:8]}")
    folder.rename(gone)
    shutil.rmtree(gone)


def _refuse_another_run(folder: Path, expected: str) -> None:
    run = _stored(folder).get("run")
    if run != expected:
        raise BadCheckpoint(
            f"{folder} belongs to run {run}, not {expected}: "
            "train under another name, or delete the folder to start anew"
        )


def _stored(folder: Path) -> dict[str, Any]:
    """What a checkpoint's state.json says. BadCheckpoint where it is torn."""
    try:
        tree = json.loads((folder / STATE).read_bytes())
    except (ValueError, FileNotFoundError) as fault:
        raise BadCheckpoint(f"{folder / STATE}: missing or torn ({fault})") from fault
    if not isinstance(tree, dict):
        raise BadCheckpoint(f"{folder / STATE}: torn (it holds no settings)")
    return tree


def named_weights(file: Path) -> dict[str, Tensor]:
    """The weights in a checkpoint's file, under all their names."""
    with safe_open(file, framework="pt") as opened:
        shared = opened.metadata() or {}
        weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
    return weights | {name: weights[kept] for name, kept in shared.items() if kept in weights}


def _stored_checkpoints(folders: Iterable[Path]) -> dict[StoredCheckpoint, Path]:
    """Of those that can be read. Others are not deleted: somebody may want to look into them."""
    found = {}
    for folder in folders:
        try:
            state, size = State.read(folder), sum(file.stat().st_size for file in folder.iterdir())
        except (BadCheckpoint, FileNotFoundError):
            continue
        found[StoredCheckpoint(state.step, size, state.score)] = folder
    return found


def copied(tree: Any) -> Any:
    """Tensors in host memory of their own; what holds them, likewise."""
    if isinstance(tree, Tensor):
        return tree.detach().to("cpu", copy=True)
    if isinstance(tree, dict):
        return {key: copied(value) for key, value in tree.items()}
    return copy.deepcopy(tree)


def _pickled(tree: dict[str, Any]) -> bytes:
    """In memory first: on a full disk, torch's own writer fails with a RuntimeError that does not say so."""
    buffer = io.BytesIO()
    torch.save(tree, buffer)
    return buffer.getvalue()
