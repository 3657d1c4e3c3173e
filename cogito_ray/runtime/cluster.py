"""The Ray cluster of one command: joined or started, checked for room, and checked for what was left behind."""

import logging
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import worker
from ray._private.state import actors
from ray.util import placement_group_table

from cogito_ray.run import RunSpec
from cogito_ray.runtime import QUIET

OBJECT_STORE_BYTES = 512 * 2**20
"""Of a local instance. Token rows are memory-mapped from shards, so the object store holds little."""
DRIVER_CPUS = 0.01
"""Reserved for a process that only waits for its workers (Ray refuses 0)."""
NOTICES_OF_NODES = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
"""A process a trainer, which hears that a machine will be taken away."""
SPARE_CPUS = 1
"""Never given to trials: drivers and data tasks need room, or everything waits for everything, without a word."""

ACTORS = frozenset({"ImplicitFunc", "RayTrainWorker"})
"""Classes of the actors in which trials and workers live. Not Ray Train's controller, which dies with the process that
started it, and not sooner where that is ours: its handler of interrupts holds on to it."""


class NoRoom(ValueError):
    """The cluster cannot hold what was asked of it."""


@contextmanager
def cluster(*, dashboard: bool = False) -> Iterator[None]:
    """Join the cluster of RAY_ADDRESS (as in a submitted job), else start a local one and stop it at the end.

    A local instance gets one logical CPU per core, and the spare one. Trainers need the dashboard: Ray's cleaner of
    their placement groups asks one whether they live. Where their own instance has none, it asks that of any other
    instance on the machine, which does not know them, and takes their workers' places away.
    """
    if ray.is_initialized():
        yield
        return
    worker.print_to_stdstream = _print_to_stderr
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(address="auto", runtime_env={"env_vars": QUIET}, **quiet)
    else:  # its processes inherit our environment
        os.environ.setdefault(NOTICES_OF_NODES, "0")  # where the only node goes, all goes
        ray.init(
            address="local",
            num_cpus=(os.cpu_count() or 1) + SPARE_CPUS,
            include_dashboard=dashboard,
            object_store_memory=OBJECT_STORE_BYTES,
            **quiet,
        )
    try:
        yield
    finally:
        ray.shutdown()


_print_to_stdstream = worker.print_to_stdstream


def _print_to_stderr(data: dict[str, Any], ignore_prefix: bool) -> None:
    """Ray prints what befell other processes to stdout, where the result of a command stands."""
    _print_to_stdstream(data | {"is_err": True}, ignore_prefix)


def concurrency(runs: Iterable[RunSpec], *, asked: int | None) -> int:
    """How many of the largest of these runs the cluster holds at once, at most `asked`; NoRoom if fewer than that."""
    placed = defaultdict[frozenset[tuple[str, str]], list[RunSpec]](list)
    for run in runs:
        placed[frozenset(run.labels.items())].append(run)
    return min(_fits(together, dict(labels), asked) for labels, together in placed.items())


def _fits(runs: Sequence[RunSpec], labels: dict[str, str], asked: int | None) -> int:
    have = _room(labels)
    shapes = {(run.sizes[0] * run.cpus_per_worker, run.sizes[0] * run.gpus_per_worker) for run in runs}
    need = {"CPU": max(cpus for cpus, _ in shapes), "GPU": max(gpus for _, gpus in shapes)}
    fits = min(int(have[name] / amount + 1e-9) for name, amount in need.items() if amount)
    if fits < (wanted := asked or 1):
        sums = ", ".join(f"{wanted * need[name]:g} {name} of {max(have[name], 0):g}" for name in need)
        named = ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
        where = f" on machines labelled {named}" if labels else ""
        raise NoRoom(
            f"{wanted} trial(s) at once need {sums}{where} ({SPARE_CPUS} CPU is kept for drivers and data): lower "
            "concurrency, workers, cpus_per_worker or gpus_per_worker, or join a larger cluster"
        )
    return wanted if asked else fits


def _room(labels: dict[str, str]) -> dict[str, float]:
    """CPUs and GPUs for trials, of all machines with these labels."""
    total = ray.cluster_resources()
    have = {"CPU": total.get("CPU", 0.0) - SPARE_CPUS, "GPU": total.get("GPU", 0.0)}
    if not labels:
        return have
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and labels.items() <= node["Labels"].items()]
    return {name: min(amount, sum(node.get(name, 0.0) for node in nodes)) for name, amount in have.items()}


def left_behind(*, patience_s: float = 20.0) -> list[str]:
    """Placement groups, actors of ours and resources that are still held although nothing should, after a while."""
    deadline = time.monotonic() + patience_s
    while (held := _held()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return held


def _held() -> list[str]:
    held = [f"placement group {key}" for key, group in placement_group_table().items() if group["state"] != "REMOVED"]
    held += [f"actor {key} ({name})" for key, name in _living() if name in ACTORS]
    total, free = ray.cluster_resources(), ray.available_resources()
    taken = {name: total[name] - free.get(name, 0.0) for name in ("CPU", "GPU") if name in total}
    return held + [f"{amount:g} {name}" for name, amount in taken.items() if amount > 1e-6]


def _living() -> list[tuple[str, str]]:
    """Id and class of every living actor that this driver started. Ray's own table: the public one asks a dashboard."""
    ours, table = ray.get_runtime_context().get_job_id(), actors(actor_state_name="ALIVE")
    return [(key, str(actor["ActorClassName"])) for key, actor in table.items() if actor["JobID"] == ours]
