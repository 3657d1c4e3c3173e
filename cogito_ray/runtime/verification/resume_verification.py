"""Checks, on the user's own cluster, that interrupted equals uninterrupted and that nobody's rows depend on who reads.

Every check trains one short run several times, the first time undisturbed, and compares the others with that one.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from ray.util.state import list_actors

from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.cluster import cluster
from cogito_ray.runtime.data.ray_data_preparation import prepare
from cogito_ray.runtime.train.pretraining_driver import pretrain
from cogito_ray.runtime.verification.fault_injection import Drill, NoSuchStep, Result
from cogito_ray.sweeps.experiment_names import TEXT

PATIENCE_S = 600
"""For a step to be reported."""
OTHER_ORDER = 1e-4
"""Tolerated between numbers of workers, which add the same gradients in another order."""
FOLDER = "verify"
"""Of the user's storage: a storage of its own for the runs of checks, which belong on no page and in no notebook."""


@dataclass(frozen=True)
class Compared:
    """One training of the run, beside the undisturbed one."""

    what: str
    seconds: float
    rows: str
    same_rows: bool
    distance: float
    """Of its weights from the undisturbed ones, relative; 0 = equal bit for bit."""
    tolerance: float

    @property
    def holds(self) -> bool:
        """Is it the same training?"""
        return self.same_rows and self.distance <= self.tolerance


@dataclass(frozen=True)
class Course:
    """What a check trains, and where."""

    run: RunSpec
    storage: Path
    times: int
    """Interruptions."""
    draw: random.Random

    def drill(self, name: str, **changed: object) -> Drill:
        """The run with some settings changed, never trained before under this name."""
        drill = Drill(RunSpec.model_validate(self.run.model_dump() | changed), name, self.storage)
        shutil.rmtree(drill.experiment.folder, ignore_errors=True)
        return drill

    def moments(self) -> list[int]:
        """Reported steps at which to interrupt, ascending; a quarter of the run is left to strike in."""
        every = self.run.training.report_every
        reports = range(every, self.run.training.steps * 3 // 4 + 1, every)
        if len(reports) < self.times:
            raise ValueError(
                f"{self.run.training.steps} steps leave {len(reports)} reports to interrupt the run at, fewer than "
                f"{self.times}; ask for more --steps or fewer --times"
            )
        return sorted(self.draw.sample(reports, self.times))


def resume(course: Course) -> Iterator[Compared]:
    """The driver is killed at random steps, and the same command given again."""
    straight, struck = course.drill("straight"), course.drill("driver-killed")
    first, seconds = _trained(straight)
    yield _compared("undisturbed", seconds, first, first)
    moments, began, here = course.moments(), time.monotonic(), ray.get_runtime_context().gcs_address
    for step in moments:
        with struck.driver(RAY_ADDRESS=here) as driver:
            struck.wait_for(step, seconds=PATIENCE_S, alive=lambda: driver.poll() is None)
            driver.kill()
    with struck.driver(RAY_ADDRESS=here) as driver:
        driver.wait()
    yield _compared(f"driver killed at {_steps(moments)}", time.monotonic() - began, _finished(struck), first)


def chaos(course: Course) -> Iterator[Compared]:
    """Workers are killed at random steps, and the run goes on by itself."""
    straight, struck = course.drill("straight"), course.drill("workers-killed")
    first, seconds = _trained(straight)
    yield _compared("undisturbed", seconds, first, first)
    moments = course.moments()
    with _killing(struck, moments):
        result, seconds = _trained(struck)
    yield _compared(f"a worker killed at {_steps(moments)}", seconds, result, first)


def order(course: Course) -> Iterator[Compared]:
    """One worker and two, by memory map and by Ray Data: the same rows at the same positions."""
    training = course.run.training.model_copy(update={"micro_batch": _shared(course.run)})
    first = None
    for workers in (1, 2):
        for reader in ("mapped", "streamed"):
            what = f"{workers} worker{'s' * (workers > 1)}, {reader}"
            drill = course.drill(f"{workers}-{reader}", workers=workers, reader=reader, training=training.model_dump())
            result, seconds = _trained(drill)
            first = first or result
            yield _compared(what, seconds, result, first, tolerance=0.0 if workers == 1 else OTHER_ORDER)


CHECKS: dict[str, Callable[[Course], Iterator[Compared]]] = {"resume": resume, "order": order, "chaos": chaos}


def verify(check: str, run: RunSpec, storage: Path, *, steps: int, times: int, seed: int) -> Iterator[Compared]:
    """The trainings of one of CHECKS as they end; `run` is cut to `steps` steps. Storage is shared with the user's
    runs."""
    short = run.training.model_copy(
        update={"steps": steps, "report_every": max(1, steps // 20), "checkpoint_every": max(1, steps // 10)}
    )
    unasked = run.evaluation.model_copy(update={"labelled": None})
    run = RunSpec.model_validate(
        run.model_dump() | {"training": short.model_dump(), "evaluation": unasked.model_dump()}
    )
    with cluster(dashboard=True):
        prepare(run.data, storage.absolute())
        yield from CHECKS[check](Course(run, storage_of_checks(storage.absolute()), times, random.Random(seed)))


def storage_of_checks(storage: Path) -> Path:
    """A storage below the user's, with the same prepared text: runs are commands there, as the user would give them."""
    own = storage / FOLDER
    own.mkdir(exist_ok=True)
    for name in TEXT:
        (storage / name).mkdir(exist_ok=True)
        if not (own / name).is_symlink():
            (own / name).symlink_to(Path("..") / name, target_is_directory=True)
    return own


def _trained(drill: Drill) -> tuple[Result, float]:
    began = time.monotonic()
    pretrain(drill.run, drill.name, drill.storage)
    return _finished(drill), time.monotonic() - began


def _finished(drill: Drill) -> Result:
    record = drill.record()
    if record is None or not record.is_complete:
        raise NoSuchStep(f"{drill.experiment.folder}: the run did not come to its end; see its ledger and driver.log")
    return drill.result()


def _compared(what: str, seconds: float, result: Result, first: Result, *, tolerance: float = 0.0) -> Compared:
    return Compared(what, seconds, result.rows, result.rows == first.rows, result.distance(first), tolerance)


def _shared(run: RunSpec) -> int:
    """Rows per forward pass that one worker and two can have alike."""
    half = run.training.batch // 2
    if run.training.batch % 2:
        raise ValueError(f"training.batch {run.training.batch} cannot be shared by two workers; make it even")
    return run.micro_batch if half % run.micro_batch == 0 else half


def _steps(moments: list[int]) -> str:
    return f"step {', '.join(map(str, moments))}"


@contextmanager
def _killing(drill: Drill, moments: list[int]) -> Iterator[None]:
    """While this lasts, one worker of the run dies at each of these steps. Raises NoSuchStep if it outran them."""
    over, killers = Event(), {node["NodeID"]: _killer_on(node["NodeID"]) for node in ray.nodes() if node["Alive"]}
    ray.get([killer.ready.remote() for killer in killers.values()])     # a process takes seconds to start
    with ThreadPoolExecutor(1) as pool:
        killer = pool.submit(_kill_at, drill, moments, over, killers)
        try:
            yield
        finally:
            over.set()
        killer.result()


def _kill_at(drill: Drill, moments: list[int], over: Event, killers: dict[str, Any]) -> None:
    for step in moments:
        drill.wait_for(step, seconds=PATIENCE_S, alive=lambda: not over.is_set())
        while not _killed_a_worker(killers):
            if over.wait(0.1):
                raise NoSuchStep(f"the run was over before a worker could be killed at step {step}; give more --steps")


def _killed_a_worker(killers: dict[str, Any]) -> bool:
    """SIGKILL for the first worker that Train has under way for this driver; False if there is none."""
    context = ray.get_runtime_context()
    for actor in list_actors(
        address=context.gcs_address,
        filters=[("class_name", "=", "RayTrainWorker"), ("state", "=", "ALIVE"), ("job_id", "=", context.get_job_id())],
        detail=True,
    ):
        if actor.node_id is not None and actor.pid is not None:
            killer = killers.get(actor.node_id) or _killer_on(actor.node_id)    # the machine may have joined since
            ray.get(killer.kill.remote(actor.pid))
            return True
    return False


@ray.remote(num_cpus=0)
class _Killer:
    def ready(self) -> None:
        """Its process is there."""

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)


def _killer_on(node: str) -> Any:
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    return _Killer.options(scheduling_strategy=there).remote()  # type: ignore[attr-defined]
