"""The Ray cluster of one command: joined or started, asked for room, and for what a driver left behind."""

import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray._private import worker
from ray._private.authentication.authentication_utils import is_token_auth_enabled
from ray._private.ray_constants import PROMETHEUS_SERVICE_DISCOVERY_FILE
from ray._private.state import actors, available_resources_per_node, state
from ray.util import placement_group_table

from cogito_ray.plugins import paths
from cogito_ray.records.ledger import RAY_DASHBOARD, Linked
from cogito_ray.records.monitoring.prometheus_files import DISCOVERY
from cogito_ray.records.process_log import ProcessLog
from cogito_ray.runtime import QUIET
from cogito_ray.runtime.trial_capacity import SPARE_CPUS, Machine, Shape, refusal, room

OBJECT_STORE_BYTES = 512 * 2**20
"""Of a local instance. Token rows are memory-mapped from shards, so the object store holds little."""
NOTICES_OF_NODES = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
"""A process a trainer, which hears that a machine will be taken away."""
KIND = "accelerator_type:"
"""Begins the name of the resource that a machine with accelerators of a kind has."""
PATIENCE_S = 20.0
"""For Ray to give back what has ended."""
ACTORS = frozenset({"ImplicitFunc", "RayTrainWorker"})
"""Classes of the actors in which trials and workers live. Not Ray Train's controller, which dies with the process that
started it, and not sooner where that is ours: its handler of interrupts holds on to it."""


DASHBOARD = "COGITO_DASHBOARD"
"""Environment variable: where it says off, a local sweep does without Ray's dashboard, which takes 150 MB of memory."""


@contextmanager
def cluster(
    *, dashboard: bool | None = False, address: str | None = None, log: Path | None = None
) -> Iterator[str]:
    """Join the cluster at `address`, or of RAY_ADDRESS (as in a submitted job), else start a local one and stop it at
    the end. Gives the URL of its dashboard; empty where it has none.

    A local instance gets one logical CPU per core, and the spare one. `dashboard`: on loopback; None = unless
    COGITO_DASHBOARD says off. Trainers need it: Ray's cleaner of their placement groups asks one whether they live.
    Where their own instance has none, it asks that of any other instance on the machine, which does not know them, and
    takes their workers' places away.

    `log`: the folder in whose `processes.log` stands what our processes print, on all machines.
    """
    if ray.is_initialized():
        yield _url(worker._global_node and worker._global_node.webui_url)
        return
    printed = ProcessLog(log) if log else None
    worker.print_to_stdstream = partial(_take_down, printed)
    quiet: dict[str, Any] = {"log_to_driver": printed is not None, "logging_level": logging.ERROR}
    if address or os.environ.get("RAY_ADDRESS"):
        shipped = {"py_modules": found} if (found := paths()) else {}
        joined = ray.init(address=address or "auto", runtime_env={"env_vars": QUIET, **shipped}, **quiet)
    else:  # its processes inherit our environment
        os.environ.setdefault(NOTICES_OF_NODES, "0")  # where the only node goes, all goes
        joined = ray.init(
            address="local",
            num_cpus=(os.cpu_count() or 1) + SPARE_CPUS,
            include_dashboard=os.environ.get(DASHBOARD) != "off" if dashboard is None else dashboard,
            object_store_memory=OBJECT_STORE_BYTES,
            **quiet,
        )
        _let_prometheus_find_it()
    try:
        yield _url(joined.dashboard_url)
    finally:
        ray.shutdown()


def _let_prometheus_find_it() -> None:
    """Ray's own file of what to scrape is of whichever instance with one temporary folder began last: each gets a link.
    Those of drivers that are gone are removed."""
    node: Any = worker._global_node
    ours = DISCOVERY.replace("*", "-*")
    here, mine = Path(node.get_temp_dir_path()), str(os.getpid())
    with suppress(OSError):    # the folder is somebody else's
        for link in here.glob(ours):
            if (pid := link.stem.rpartition("-")[2]) == mine or not Path("/proc", pid).exists():
                link.unlink()
        named = Path(node.get_session_dir_path(), PROMETHEUS_SERVICE_DISCOVERY_FILE)
        (here / ours.replace("*", mine)).symlink_to(named)


def dashboard_link(url: str) -> Linked:
    """Where Ray's dashboard is, for the record."""
    asks = "it asks for what `ray get-auth-token` prints" if is_token_auth_enabled() else ""
    return Linked(at=time.time(), where=RAY_DASHBOARD, url=url, asks=asks)


def _url(address: str | None) -> str:
    return f"http://{address}" if address else ""


_print_to_stdstream = worker.print_to_stdstream


def _take_down(log: ProcessLog | None, data: dict[str, Any], ignore_prefix: bool) -> None:
    """What a process prints, and what befell one: Ray would print both to stdout, where a command's result stands."""
    if log is None or "job" not in data:
        _print_to_stdstream(data | {"is_err": True}, ignore_prefix)
    elif data["job"]:    # not the autoscaler, which prints a page every few seconds
        log.write(data.get("actor_name") or data.get("task_name") or str(data["pid"]), data["lines"])


def capacity(needed: Iterable[Shape]) -> int:
    """How many of these the cluster would hold at once if nobody else used it; NoRoom if none."""
    shapes, there = set(needed), machines()
    if not (fits := room(there, shapes)):
        raise refusal(there, shapes, 1)
    return fits


def kinds_of_gpus() -> tuple[str, ...]:
    """Those in the cluster, as Ray names them."""
    return tuple(sorted(name.removeprefix(KIND) for name in ray.cluster_resources() if name.startswith(KIND)))


def this_machine() -> dict[str, str]:
    """Labels of the machine that this driver is on, for tasks that are to run there."""
    return {"ray.io/node-id": ray.get_runtime_context().get_node_id()}


def machines() -> list[Machine]:
    """Those that live, and will not soon be taken away."""
    return [_machine(node, node["Resources"]) for node in _staying()]


def free() -> list[Machine]:
    """What of them nobody has reserved just now."""
    amounts = available_resources_per_node()
    return [_machine(node, amounts.get(node["NodeID"], {})) for node in _staying()]


def is_leaving(node: str) -> bool:
    """Is the machine with this id drained: will it soon be taken away?"""
    return node in state.get_draining_nodes()


def _staying() -> list[dict[str, Any]]:
    leaving = state.get_draining_nodes()
    return [node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in leaving]


def _machine(node: dict[str, Any], amounts: dict[str, float]) -> Machine:
    return Machine(amounts.get("CPU", 0.0), amounts.get("GPU", 0.0), frozenset(node["Labels"].items()))


def left_behind(*, patience_s: float = PATIENCE_S) -> list[str]:
    """Placement groups and actors that this driver's job still holds although it should not, after a while.

    Other jobs of the cluster are none of its business.
    """
    deadline = time.monotonic() + patience_s
    while (held := _held()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return held


def _held() -> list[str]:
    groups = placement_group_table().items()
    held = [f"placement group {key}" for key, group in groups if group["state"] != "REMOVED" and _is_ours(key)]
    return held + [f"actor {key} ({name})" for key, name in _living() if name in ACTORS]


def _is_ours(placement_group: str) -> bool:
    """An id of Ray's ends in that of the job that made it."""
    return placement_group.endswith(ray.get_runtime_context().get_job_id())


def _living() -> list[tuple[str, str]]:
    """Id and class of every living actor that this driver started. Ray's own table: the public one asks a dashboard."""
    ours, table = ray.get_runtime_context().get_job_id(), actors(actor_state_name="ALIVE")
    return [(key, str(actor["ActorClassName"])) for key, actor in table.items() if actor["JobID"] == ours]
