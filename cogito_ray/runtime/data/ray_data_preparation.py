"""Prepares data with Ray Data, in parallel.

Every task reads one part of a source and writes its shards itself under names that depend on the part alone, so the
bytes do not depend on the cluster; what an interrupted run or a damaged disk leaves whole is not built again.
"""

import logging
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import ray
import ray.data
from ray import cloudpickle

from cogito_ray.object_storage.storage_mirror import mirror_of
from cogito_ray.runtime.cluster import this_machine
from cogito_ray.text.data_digests import DataDigests
from cogito_ray.text.data_spec import DataSpec
from cogito_ray.text.preparation_plan import Listener, prepare_with
from cogito_ray.text.prepared_corpus import Corpus

Result = TypeVar("Result")


def prepare(
    data: DataSpec, storage: Path, progress: Listener = lambda _: None, *, expected: DataDigests | None = None
) -> Corpus:
    """Builds what is missing or damaged and opens the corpus; needs no Ray instance when all stands. What goes to an
    object store is built on this machine, in the folder that mirrors it.

    ValueError, all faults at once, before any work. ChangedData where the text is not what gave `expected`.
    """
    run = in_parallel if mirror_of(storage) is None else partial(in_parallel, here=True)
    return prepare_with(run, data, storage, progress, expected=expected)


def in_parallel(work: Sequence[Callable[[], Result]], *, here: bool = False) -> Iterator[tuple[int, Result]]:
    """Runs every call as a Ray Data task of one CPU; yields (its number, its result) as they end. `here`: on this
    machine alone."""
    if not work:
        return
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # else it tells of every execution, and of being told not to

    def run(row: dict[str, Any]) -> dict[str, object]:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the task has one CPU; threads of its own would fight for it
        return {"number": row["number"], "outcome": pickle.dumps(_outcome(pickle.loads(row["call"])))}  # noqa: S301

    calls = [{"number": number, "call": cloudpickle.dumps(call)} for number, call in enumerate(work)]
    items, where = ray.data.from_items(calls, override_num_blocks=len(work)), this_machine() if here else None
    tasks = items.map(run, num_cpus=1, label_selector=where)
    tasks.set_name("prepare text")
    tasks.context.enable_progress_bars = False
    for row in tasks.iter_rows():
        result, error = pickle.loads(row["outcome"])  # noqa: S301  (of a task of ours, in Ray's memory)
        if error is not None:
            raise error
        yield row["number"], result


def _outcome(call: Callable[[], Result]) -> tuple[Result | None, ValueError | OSError | None]:
    """What a call gives, or the error it raises, which Ray would wrap in two others."""
    try:
        return call(), None
    except (ValueError, OSError) as error:
        return None, error
