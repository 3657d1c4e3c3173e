"""A run's state of which each worker holds, writes and reads its own shards, by torch.distributed.checkpoint.

Beside the shards, from which a run of any number of workers goes on, the first worker puts the weights together into
the one file that evaluation and export read, out of files, not out of the other workers' memory.
"""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
import torch.distributed as dist
from safetensors.torch import save as packed
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from cogito_ray.training.checkpoints.checkpoint_store import State, copied
from cogito_ray.training.checkpoints.manifest import WEIGHTS, retry_within

SEEN_WITHIN_S = 90.0
"""The first worker waits so long for the shards of others: NFS clients believe for up to 60 s that what they did not
find is not there."""
warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)     # each worker reads for itself


@dataclass(frozen=True)
class ShardedSnapshot:
    """This worker's shards, in memory of their own, which training no longer touches."""

    state: State
    weights: dict[str, Any]
    """Distributed tensors by name."""
    optimizer: dict[str, Any]
    writers: dist.ProcessGroup
    """All workers of the run, on their CPUs."""

    @classmethod
    def of(
        cls, state: State, weights: dict[str, Any], optimizer: dict[str, Any], writers: dist.ProcessGroup
    ) -> Self:
        """A copy in host memory."""
        return cls(state, copied(weights), copied(optimizer), writers)

    def fill(self, folder: Path) -> None:
        """With what a checkpoint holds instead, however many workers wrote it. OSError where it does not fit."""
        _load({"weights": self.weights, "optimizer": self.optimizer}, folder)

    def write(self, draft: AbstractContextManager[Path], checkpoints: Path) -> None:
        """All workers together: either all return, or all raise OSError. `draft` is the first worker's; the others find
        its folder among `checkpoints`."""
        if dist.get_rank(self.writers) == 0:
            self._write_and_finish(draft)
        else:
            name = self._told_by_first()
            with suppress(OSError):                     # which the first one hears of, and tells
                self._save(checkpoints / str(name))
            self._told_by_first()

    def _write_and_finish(self, draft: AbstractContextManager[Path]) -> None:
        fault: OSError | None = None
        try:
            with draft as folder:
                self._told_by_first(folder.name)
                self._save(folder)
                retry_within(lambda: _refuse_missing(folder), SEEN_WITHIN_S)
                (folder / WEIGHTS).write_bytes(packed(self._whole_weights(folder)))
        except OSError as found:
            fault = found
        self._told_by_first(fault)

    def _told_by_first(self, said: str | OSError | None = None) -> str | OSError | None:
        """What the first worker says, on every worker; raised where it is a fault."""
        told = [said]
        dist.broadcast_object_list(told, group=self.writers, group_src=0)
        if isinstance(told[0], OSError):
            raise told[0]
        return told[0]

    def _save(self, folder: Path) -> None:
        with _as_os_error():
            tree = {"weights": self.weights, "optimizer": self.optimizer}
            save(tree, checkpoint_id=folder, process_group=self.writers)

    def _whole_weights(self, folder: Path) -> dict[str, Tensor]:
        whole = {name: torch.empty(shards.shape, dtype=shards.dtype) for name, shards in self.weights.items()}
        _load({"weights": whole}, folder)
        return whole


def _load(tree: dict[str, Any], folder: Path) -> None:
    with _as_os_error():
        load(tree, checkpoint_id=folder, no_dist=True)


def _refuse_missing(folder: Path) -> None:
    files = {part.relative_path for part in FileSystemReader(folder).read_metadata().storage_data.values()}
    if missing := sorted(name for name in files if not (folder / name).is_file()):
        raise FileNotFoundError(
            f"{folder}: the first worker does not see {', '.join(missing)}, which others have written; under "
            "training.parallel 'fsdp' all workers need one folder that each of them sees"
        )


@contextmanager
def _as_os_error() -> Iterator[None]:
    """What workers could not read or write. torch's writer says RuntimeError where a disk is full."""
    try:
        yield
    except CheckpointException as failed:
        causes = {rank: cause for rank, (cause, _) in failed.failures.items()}
        said = "; ".join(f"worker {rank}: {cause}" for rank, cause in sorted(causes.items()))
        if all(isinstance(cause, OSError | RuntimeError) for cause in causes.values()):
            raise OSError(said) from failed
        raise RuntimeError(said) from failed
