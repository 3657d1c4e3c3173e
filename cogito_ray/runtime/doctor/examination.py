"""Asks every machine of a cluster for its facts, and lets them add numbers over the network together."""

import secrets
import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cogito_ray.atomic_files import explain_os_error
from cogito_ray.records.file_locks import Busy, hold
from cogito_ray.runtime.doctor.node_facts import LOCK, NodeFacts, look, look_again

PATIENCE_S = 60.0
"""For the answer of a machine."""


@dataclass(frozen=True)
class AllReduce:
    """Of 4 MiB between all machines: why not, or the `seconds` of the best of three."""

    backend: str
    fault: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Examination:
    """What was found. `silent`: addresses of machines that gave no answer, and why."""

    nodes: tuple[NodeFacts, ...]
    silent: tuple[str, ...]
    reduced: tuple[AllReduce, ...]


def examine(storage: Path) -> Examination:
    """Of the cluster that this process has joined. Leaves nothing in the storage."""
    machines = [node for node in ray.nodes() if node["Alive"]]
    folder = storage.absolute() / f".doctor-{secrets.token_hex(6)}"
    try:
        asked = [_on(node, look).remote(folder, node["Resources"]) for node in machines]
        answers = [(node, _answer(each)) for node, each in zip(machines, asked, strict=True)]
        heard = [(node, answer) for node, answer in answers if not isinstance(answer, str)]
        nodes = _together(folder, heard)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    silent = [f"{node['NodeManagerAddress']}: {answer}" for node, answer in answers if isinstance(answer, str)]
    reduced = [_all_reduce(heard, "gloo", gpus=0)] if len(heard) > 1 else []
    if reduced and all(facts.ray_gpus >= 1 for _, facts in heard):
        reduced.append(_all_reduce(heard, "nccl", gpus=1))
    return Examination(tuple(nodes), tuple(silent), tuple(reduced))


def _on(node: dict[str, Any], function: Any, gpus: int = 0) -> Any:
    """A remote function that runs there and nowhere else."""
    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return ray.remote(function).options(num_cpus=0, num_gpus=gpus, scheduling_strategy=there, max_retries=0)


def _answer(asked: Any) -> Any:
    """Or, as text, why there is none."""
    try:
        return ray.get(asked, timeout=PATIENCE_S)
    except GetTimeoutError:
        ray.cancel(asked, force=True)
        return f"no answer for {PATIENCE_S:.0f} s"
    except RayError as fault:
        return str(fault).strip().splitlines()[-1]


def _together(folder: Path, heard: list[tuple[dict[str, Any], NodeFacts]]) -> list[NodeFacts]:
    """With what takes the others: what each sees of them, locks, and clocks."""
    wrote = [node["NodeManagerAddress"] for node, facts in heard if not facts.storage_fault]
    completed, held_back = [], ""
    with ExitStack() as held:
        try:
            held.enter_context(hold(folder / LOCK))
        except (OSError, Busy) as fault:
            held_back = explain_os_error(fault) if isinstance(fault, OSError) else str(fault)
        for node, facts in heard:
            before = time.time()
            answer = _answer(_on(node, look_again).remote(folder, wrote))
            after = time.time()
            if not isinstance(answer, str):
                skew = min(answer[0] - before, 0.0) or max(answer[0] - after, 0.0)
                facts = replace(facts, skew_s=skew, unseen=answer[1], lock_fault=held_back or answer[2])
            completed.append(facts)
    return completed


def _all_reduce(heard: list[tuple[dict[str, Any], NodeFacts]], backend: str, gpus: int) -> AllReduce:
    first, facts = heard[0]
    meeting = f"tcp://{first['NodeManagerAddress']}:{facts.port}"
    asked = [_on(node, reduce, gpus).remote(backend, meeting, rank, len(heard)) for rank, (node, _) in enumerate(heard)]
    answers = [_answer(each) for each in asked]
    if faults := [answer for answer in answers if isinstance(answer, str)]:
        return AllReduce(backend, faults[0])
    return AllReduce(backend, seconds=max(answers))


def reduce(backend: str, meeting: str, rank: int, count: int) -> float:
    """Seconds that the sum of 4 MiB of ones of each machine takes, the best of three."""
    from torch import distributed

    patience, seconds = timedelta(seconds=PATIENCE_S / 3), []
    distributed.init_process_group(backend, init_method=meeting, rank=rank, world_size=count, timeout=patience)
    try:
        for _ in range(3):
            numbers = torch.ones(2**20, device="cuda" if backend == "nccl" else "cpu")
            begin = time.perf_counter()
            distributed.all_reduce(numbers)
            assert numbers[-1].item() == count  # which waits for a GPU, too
            seconds.append(time.perf_counter() - begin)
        return min(seconds)
    finally:
        distributed.destroy_process_group()
