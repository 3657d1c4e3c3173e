"""A run under fire: its command is given, its processes are found and struck, and the command is given again."""

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from cogito_ray.run import RunSpec
from cogito_ray.runtime.drill import Drill, Result
from cogito_ray.runtime.worker import Job, train

Driver = subprocess.Popen[bytes]
Strike = Callable[[Driver, Drill], None]
WORKER, TRIAL, CONTROLLER, DATA_TASK = (
    f"ray::{name}" for name in ("RayTrainWorker", "ImplicitFunc", "TrainController", "ReadRange->MapBatches")
)
PATIENCE_S = 170


@dataclass(frozen=True)
class Fault:
    """One thing that befalls a run."""

    strike: Strike
    survived: bool = True
    """The command goes on by itself; else it must be given again."""
    changed: dict[str, object] = field(default_factory=dict)
    """What of the run's spec is not as usual."""
    at: int | None = None
    """The step to strike at; None = drawn."""


@dataclass
class Ordeal:
    """One run, how often its command was given, and how long all of it took."""

    drill: Drill
    environment: dict[str, str] = field(default_factory=dict)
    commands: int = 0
    seconds: float = 0.0

    def suffer(self, strike: Strike, *, at: int) -> int:
        """Give the command, strike when step `at` is reported, wait for the end: its exit status."""
        with self._command() as driver:
            self.drill.wait_for(at, seconds=PATIENCE_S, alive=lambda: driver.poll() is None)
            strike(driver, self.drill)
            return driver.wait(PATIENCE_S)

    def finish(self) -> Result:
        """Give the command, undisturbed."""
        with self._command() as driver:
            status = driver.wait(PATIENCE_S)
        assert status == 0, self.said()
        return self.drill.result()

    def said(self) -> str:
        """The end of what the command wrote."""
        return (self.drill.home.folder / "driver.log").read_text()[-3000:]

    @contextlib.contextmanager
    def _command(self) -> Iterator[Driver]:
        began, driver = time.monotonic(), self.drill.driver(**self.environment)
        self.commands += 1
        try:
            yield driver
        finally:
            self.seconds += time.monotonic() - began
            kill_all(driver)


def bare_result(run: RunSpec, storage: Path) -> Result:
    """What the run comes to in this process: no Ray, nothing that could be struck."""
    drill, told = Drill(run, f"bare-{run.digest()}", storage), []
    train(Job(run, storage, drill.home.folder), told.append)
    return Result(drill.weights(), told[-1].rows, told[-1].step)


def step_for(fault: str, seed: int, run: RunSpec) -> int:
    """A reported step in the middle of the run: something is lost, and something is left to do."""
    every, steps = run.training.report_every, run.training.steps
    return random.Random(f"{fault} {seed}").randrange(steps // 4, steps * 3 // 4) // every * every


def wait_until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not met():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s"
        time.sleep(0.02)


def find(title: str) -> psutil.Process:
    """A process that these tests started whose title begins so, as soon as there is one."""
    found: list[psutil.Process] = []
    wait_until(lambda: bool(found.extend(_titled(title)) or found))
    return found[0]


def _titled(title: str) -> Iterator[psutil.Process]:
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if " ".join(process.cmdline()).startswith(title):
                yield process


def kill_all(driver: Driver) -> None:
    """SIGKILL the driver, if it lives, and everything it started."""
    if driver.poll() is None:
        family = psutil.Process(driver.pid).children(recursive=True)
        driver.kill()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        driver.wait()


def kills(title: str) -> Strike:
    """SIGKILL for the first process of this title."""
    return lambda driver, drill: find(title).kill()


def kills_instance(driver: Driver, drill: Drill) -> None:
    """SIGKILL for the driver and the Ray instance it started."""
    kill_all(driver)


def kills_driver(driver: Driver, drill: Drill) -> None:
    """SIGKILL for the driver alone."""
    driver.kill()


def kills_while_writing(driver: Driver, drill: Drill) -> None:
    """SIGKILL for the worker when a draft of a checkpoint has appeared; the draft must be left behind."""
    folder = drill.checkpoints
    while True:
        worker = find(WORKER)
        while worker.is_running() and not _drafts(folder):
            pass
        worker.kill()
        if _drafts(folder):
            return


def _drafts(folder: Path) -> list[str]:
    return [entry.name for entry in os.scandir(folder) if entry.name.startswith(".")]


def pauses(title: str, *, seconds: float) -> Strike:
    """SIGSTOP, and SIGCONT after some seconds."""

    def strike(driver: Driver, drill: Drill) -> None:
        process = find(title)
        process.suspend()
        time.sleep(seconds)
        process.resume()

    return strike


def alters_newest_checkpoint_and_kills_worker(driver: Driver, drill: Drill) -> None:
    """One byte of the newest checkpoint's weights; the worker dies, and must pass that checkpoint over."""
    file = max(drill.checkpoints.glob("step-*")) / "model.safetensors"
    worker = find(WORKER)
    worker.suspend()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    worker.kill()


def tears_shard(driver: Driver, drill: Drill) -> None:
    """Half of a token shard is gone under the running run."""
    shard = max(drill.storage.glob("tokens/*/*.parquet"), key=lambda file: file.stat().st_size)
    os.truncate(shard, shard.stat().st_size // 2)
