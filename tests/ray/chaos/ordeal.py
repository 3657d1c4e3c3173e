"""A run under fire: its command is given, its processes are found and struck, and the command is given again."""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psutil

from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.train.train_worker import Job, Place, train
from cogito_ray.runtime.verification.fault_injection import Drill, NoSuchStep, Result
from cogito_ray.text.preparation_plan import prepared

Driver = subprocess.Popen[bytes]
Strike = Callable[[Driver, Drill], None]
WORKER, TRIAL, CONTROLLER, DATA_TASK = (
    f"ray::{name}" for name in ("RayTrainWorker", "ImplicitFunc", "TrainController", "ReadRange->MapBatches")
)
PATIENCE_S = 400
BY_ITSELF, AGAIN = "went on by itself", "went on with the same command"


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
    """One run under fire."""

    drill: Drill
    environment: dict[str, str] = field(default_factory=dict)
    heard_at: float = field(default_factory=time.monotonic)
    """When the run was last seen to be further than before; at first, when it was struck."""
    reached: int = 0
    """Step reported then."""
    lost_s: float = 0.0
    """The longest time without a step further, from the strike on."""

    def suffer(self, strike: Strike, *, at: int) -> int:
        """Give the command, strike when step `at` is reported, wait for the end: its exit status."""
        with self._command() as driver:
            try:
                self.drill.wait_for(at, seconds=PATIENCE_S, alive=lambda: driver.poll() is None)
            except NoSuchStep as early:
                raise AssertionError(self.said()) from early
            self.heard_at, self.reached = time.monotonic(), self._step()
            strike(driver, self.drill)
            return self._end_of(driver)

    def finish(self) -> Result:
        """Give the command, undisturbed."""
        with self._command() as driver:
            status = self._end_of(driver)
        assert status == 0, self.said()
        return self.drill.result()

    def _end_of(self, driver: Driver) -> int:
        while driver.poll() is None:
            now, step = time.monotonic(), self._step()
            if step > self.reached:
                self.lost_s = max(self.lost_s, now - self.heard_at)
                self.heard_at, self.reached = now, step
            assert now < self.heard_at + PATIENCE_S, self.said()
            time.sleep(0.1)
        return driver.returncode

    def _step(self) -> int:
        trial = self.drill.trial()
        return trial.step if trial else 0

    def said(self) -> str:
        """The end of what the command wrote."""
        return (self.drill.experiment.folder / "driver.log").read_text()[-3000:]

    @contextlib.contextmanager
    def _command(self) -> Iterator[Driver]:
        driver = self.drill.driver(**self.environment)
        try:
            yield driver
        finally:
            kill_all(driver)


def bare_result(run: RunSpec, storage: Path) -> Result:
    """What the run comes to in this process: no Ray, nothing that could be struck. It is trained once."""
    return _bare_result(run.model_dump_json(), storage)


@cache
def _bare_result(run_json: str, storage: Path) -> Result:
    run = RunSpec.model_validate_json(run_json)
    drill, told = Drill(run, f"bare-{run.digest()}", storage), []
    train(Job(run, storage, prepared(run.data, storage).digests, drill.experiment.folder), told.append, Place())
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


def interrupts(driver: Driver, drill: Drill) -> None:
    """SIGINT for the driver, as Ctrl-C sends it."""
    driver.send_signal(signal.SIGINT)


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


def tears_shard_and_kills_worker(driver: Driver, drill: Drill) -> None:
    """Half of a token shard is gone; the worker dies, for it might have read all that it needs, and finds it torn."""
    shard = max(drill.storage.glob("tokens/*/*.parquet"), key=lambda file: file.stat().st_size)
    os.truncate(shard, shard.stat().st_size // 2)
    find(WORKER).kill()
