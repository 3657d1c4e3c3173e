"""What is wrong with a cluster, by the facts of its machines, and how that is mended. No machine is asked here."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cogito_ray.runtime.doctor.examination import Examination
from cogito_ray.runtime.doctor.node_facts import NodeFacts

GIB = 2**30
CLOCK_S = (2.0, 20.0)
"""Skew from which on there is a warning, and a fault: leases of files without locks are 60 s."""
LITTLE_DISK, SMALL_OBJECT_STORE = 10 * GIB, 0.2 * GIB
ALIKE = ("python", "ray", "torch", "cogito-ray")
"""Packages of which every machine must have the same version."""


@dataclass(frozen=True)
class Finding:
    """`fault`: a sweep or run would fail, or not be what it says. `mend`: what to do; empty where all is well."""

    level: Literal["ok", "warning", "fault"]
    what: str
    text: str
    mend: str = ""


def findings(found: Examination) -> list[Finding]:
    """In the order in which they are best read."""
    nodes = found.nodes
    return [*_versions(nodes), *_gpus(nodes), *_storage(nodes), *_rest(nodes), *_network(found)]


def _versions(nodes: tuple[NodeFacts, ...]) -> Iterator[Finding]:
    for name in ALIKE:
        versions = [(node.versions.get(name, "none"), node.node) for node in nodes]
        yield _alike(name, versions, "fault", f"install the same {name} on every machine (requirements.lock)")
    code = [(node.code, node.node) for node in nodes]
    yield _alike("code", code, "fault", "install this version everywhere, or submit without --installed")


def _alike(what: str, values: list[tuple[str, str]], level: Literal["warning", "fault"], mend: str) -> Finding:
    """`values`: each with its machine."""
    if len(different := dict.fromkeys(value for value, _ in values)) <= 1:
        return Finding("ok", what, f"{next(iter(different), 'none')} on every machine")
    on = {one: ", ".join(dict.fromkeys(node for value, node in values if value == one)) for one in different}
    return Finding(level, what, "; ".join(f"{value} on {nodes}" for value, nodes in on.items()), mend)


def _gpus(nodes: tuple[NodeFacts, ...]) -> Iterator[Finding]:
    for node in nodes:
        if len(node.gpus) != node.ray_gpus:
            text = f"{node.node} has {len(node.gpus)}, of which Ray knows {node.ray_gpus:g}"
            yield Finding("warning", "GPUs", text, "mend the driver, or start Ray there anew")
        if node.gpus and node.cuda is None:
            yield Finding("fault", "GPUs", f"{node.node}: torch is built without CUDA", "install its CUDA build there")
        for gpu in sorted({*node.gpus}):
            yield Finding("ok", "GPUs", f"{node.node}: {node.gpus.count(gpu)} x {gpu}")
    if drivers := [(gpu.rpartition(", ")[2], node.node) for node in nodes for gpu in node.gpus]:
        yield _alike(
            "GPU driver", drivers, "warning", "install the same driver everywhere: NCCL is tried with equal ones"
        )


def _storage(nodes: tuple[NodeFacts, ...]) -> Iterator[Finding]:
    for node in nodes:
        if node.storage_fault:
            mend = "mount it there, writable by the user that Ray runs as, and make room"
            yield Finding("fault", "storage", f"{node.node}: {node.storage_fault}", mend)
            continue
        if node.unseen:
            text = f"{node.node} does not see what {', '.join(node.unseen)} wrote"
            yield Finding("fault", "storage", text, "give a folder of a file system that all machines share")
        if node.lock_fault:
            mend = "mount it with locks (NFS 4, or Lustre with -o flock): two drivers could write one ledger"
            yield Finding("fault", "file locks", f"{node.node}: {node.lock_fault}", mend)
        if node.free < LITTLE_DISK:
            yield Finding("warning", "disk", f"{node.node}: {node.free / GIB:.1f} GiB are free", "make room there")
    if not any(node.storage_fault or node.unseen or node.lock_fault for node in nodes):
        yield Finding("ok", "storage", "written, read and locked by every machine")


def _rest(nodes: tuple[NodeFacts, ...]) -> Iterator[Finding]:
    for node in nodes:
        if abs(node.skew_s) > CLOCK_S[0]:
            text = f"{node.node} is {abs(node.skew_s):.0f} s {'ahead' if node.skew_s > 0 else 'behind'}"
            far = abs(node.skew_s) > CLOCK_S[1]
            yield Finding("fault" if far else "warning", "clock", text, "run a time service there, such as chrony")
        if node.object_store < SMALL_OBJECT_STORE or node.object_store > node.shm > 0:
            text = f"{node.node}: {node.object_store / GIB:.1f} GiB, of {node.shm / GIB:.1f} GiB free in /dev/shm"
            yield Finding("warning", "object store", text, "ray start --object-store-memory, or a larger /dev/shm")
        if node.hub_fault:
            text = f"{node.node}: {node.hub_fault}"
            yield Finding("warning", "hub", text, "data and models of the hub alone need it; else set HF_HUB_OFFLINE=1")
        if not node.has_token:
            mend = "export RAY_AUTH_MODE=token before `ray start`: who reaches an open cluster runs code on it"
            yield Finding("warning", "authentication", f"{node.node} asks nobody for a token", mend)


def _network(found: Examination) -> Iterator[Finding]:
    for text in found.silent:
        yield Finding("fault", "machine", text, "look at Ray's logs there (/tmp/ray/session_latest/logs)")
    for one in found.reduced:
        mend = "open all ports between the machines, and name their network: GLOO_SOCKET_IFNAME, NCCL_SOCKET_IFNAME"
        if one.fault:
            yield Finding("fault", f"all-reduce, {one.backend}", one.fault, mend)
        else:
            text = f"4 MiB in {one.seconds * 1e3:.1f} ms ({4 / one.seconds:.0f} MiB/s)"
            yield Finding("ok", f"all-reduce, {one.backend}", text)
