"""What a sweep's driver costs as its trials become many: the real driver, without Ray's processes and without training.

    python jobs/bench_scale.py --sizes 100 1000 10000 --modes stop pause --goals 1 2 [--folder /tmp/scale]

Tune is replaced by a loop in which workers take turns and report made-up curves; searcher, scheduler, callbacks,
ledger, retention of checkpoints, copy of the study and record are those of `run_sweep`. One sweep of the largest size
is driven for each mode and number of goals. A size is how many trials have started, those that wait at a rung among
them. What it costs there is the mean over the second half of the trials up to it, in CPU time of the driver, so that
ratios are of one run. `fsync` is left out: it costs wall time and no CPU, and does not grow. Points are drawn at
random; what TPE takes to draw one is told apart, for it is Optuna's.

What is read from the ledger as it was at each size, in a process of its own each: resume, until the search is where it
was; report.html; the live table, as share of a core, while reports come in.

`reports` are those that came, of 50 planned by each trial: rungs stand after 5, 15 and 45 of them.
"""

import argparse
import io
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune import TuneConfig

from cogito_ray.display import console, live_view
from cogito_ray.records.control_requests import SweepLimits
from cogito_ray.records.ledger import CHECKPOINTS, NAME, TRIALS, Ledger, Reported
from cogito_ray.records.pages import report_page
from cogito_ray.runtime.control_files import PAUSED
from cogito_ray.runtime.experiment_folder import ExperimentFolder
from cogito_ray.runtime.metrics_export import MetricsExporter
from cogito_ray.runtime.search.optuna_study import Study
from cogito_ray.runtime.search.searcher import Search
from cogito_ray.runtime.trial_recorder import TrialRecorder, paused, progress
from cogito_ray.runtime.tune import sweep_driver
from cogito_ray.runtime.tune.notification import Notifier
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.text.data_digests import DataDigests
from cogito_ray.text.data_spec import corpus_key
from cogito_ray.training.checkpoints.checkpoint_store import folder_of

NATS, RANK = "eval/reconstruction_nats", "concepts/effective_rank"
GOALS = [{"metric": NATS, "mode": "min"}, {"metric": RANK, "mode": "max"}]
STEPS, EVERY, FIRST_RUNG = 500, 10, 50
WORKERS = 8
CHECKPOINT_BYTES, HELD = 1000, 25
"""Of a checkpoint, and how many of them `budget.disk` has room for where trials are stopped: so few that each trial
that ends has one deleted long before the smallest size, and what that costs is not taken for growth."""
BESIDE = (
    "optimizer/gradient_norm", "time/tokens_per_s", "time/data_wait_share", "time/mfu", "loss/total",
    "loss/reconstruction", "loss/variance", "loss/reconstruction_gradient_share", "loss/variance_gradient_share",
    "optimizer/learning_rate", "optimizer/weight_norm", "concepts/nuclear_rank", "eval/word_content_auc",
    "eval/shuffled_reconstruction_nats", "eval/word_order_accuracy",
)  # fmt: skip
"""What a trial reports besides its goals."""
LIVE_S, LIVE_RATE = 20.0, 10
"""For how long the live table is watched, and reports a second meanwhile."""
KINDS = {1: "asha", 2: "pareto_asha"}
"""By the number of goals."""


def sweep(mode: str, goals: int, trials: int, sampler: str = "random") -> SweepSpec:
    run = {
        "data": {"sources": {"docs": {"kind": "python-docs", "part": "library"}}, "length": 64},
        "model": {"width": 64, "heads": 4, "decoder": {"kind": "position"}},
        "objective": {"kind": "tsdae"},
        "loss": {"regularisers": [{"kind": "variance"}]},
        "training": {"steps": STEPS, "report_every": EVERY, "batch": 32},
    }
    halving = {"first_rung": FIRST_RUNG, "eta": 3, "mode": mode}
    disk = CHECKPOINT_BYTES * (HELD if mode == "stop" else 2 * trials)
    return SweepSpec.model_validate({
        "name": f"{mode}-{goals}",
        "run": run,
        "space": {
            "loss.weighting.weights.variance": {"loguniform": [0.001, 0.3]},
            "training.optimizer.learning_rate": {"loguniform": [1e-4, 1e-2]},
            "objective.rate": {"uniform": [0.3, 0.8]},
            "model.concepts": {"randint": [8, 32], "step": 8},
        },
        "goals": GOALS[:goals],
        "early_stopping": {"kind": "none"} if mode == "none" else halving | {"kind": KINDS[goals]},
        "budget": {"trials": trials, "disk": f"{disk // 1000}kB"},
        "search": {"sampler": sampler},
        "concurrency": WORKERS,
    })


def measured(sample: dict[str, Any], step: int, noise: np.random.Generator) -> dict[str, float]:
    """Curves whose order early on says much of that at the end, and whose goals fight."""
    pressure = (math.log10(sample["loss.weighting.weights.variance"]) + 3) / 2.5
    off = math.log10(sample["training.optimizer.learning_rate"]) + 3
    done = 1 - 1 / (1 + step / 60)
    nats = 7.3 - done * (3.2 - off * off - 0.8 * pressure**2 - 0.6 * (sample["objective.rate"] - 0.6) ** 2)
    rank = sample["model.concepts"] * (0.2 + 0.7 * pressure * done)
    spread = noise.normal(0, 0.03, 2 + len(BESIDE))
    beside = dict(zip(BESIDE, (1 + spread[2:]).tolist(), strict=True))
    return {NATS: nats + spread[0], RANK: rank + 10 * spread[1], "eval/unigram_nats": 7.3, **beside}


@dataclass
class Costs:
    """CPU seconds by kind of event, each with the trials that had started by then."""

    events: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    started: int = 0
    apart: float = 0.0
    """Seconds of the sampler within what is being measured."""

    @contextmanager
    def of(self, kind: str) -> Iterator[None]:
        before, self.apart = time.process_time(), 0.0
        yield
        self.events[kind].append((self.started, time.process_time() - before - self.apart))
        if self.apart:
            self.events["draw"].append((self.started, self.apart))

    def at(self, size: int) -> dict[str, float]:
        """Milliseconds of each kind, over the second half of the trials up to this size."""
        found = {
            kind: [cost for started, cost in told if size / 2 <= started < size] for kind, told in self.events.items()
        }
        return {kind: 1000 * sum(costs) / max(1, len(costs)) for kind, costs in found.items()}


@dataclass
class Driven:
    """A trial under way, as Tune's `Trial` looks to scheduler and callbacks."""

    trial_id: str
    config: dict[str, Any]
    step: int
    last_result: dict[str, Any] = field(default_factory=dict)


class Loop:
    """In place of a Tuner: the same calls in Tune's order, by workers that take turns."""

    def __init__(self, experiment: ExperimentFolder, config: TuneConfig, callbacks: list[Any], costs: Costs):
        self.folder, self.costs, self.callbacks = experiment.folder / TRIALS, costs, callbacks
        self.searcher: Any = config.search_alg
        self.scheduler: Any = config.scheduler
        self.steps: dict[str, int] = {}
        self.queue: list[tuple[int, int, Driven]] = []
        self.starts, self.noise = 0, np.random.default_rng(0)
        self.at_size: Callable[[int], None] = lambda started: None

    def fit(self) -> None:
        now = 0
        while True:
            while len(self.queue) < WORKERS and self._start(now):
                pass
            if not self.queue:
                return self.at_size(self.costs.started)
            now, _, trial = heappop(self.queue)
            if self._report(trial):
                heappush(self.queue, (now + EVERY, self.starts, trial))
                self.starts += 1

    def _start(self, now: int) -> bool:
        with self.costs.of("suggest"):
            config = self.searcher.suggest(f"t{self.starts}")
        if not isinstance(config, dict):
            return False
        if config["trial"] not in self.steps:
            self.at_size(self.costs.started)
            self.costs.started += 1
        trial = Driven(f"t{self.starts}", config, self.steps.setdefault(config["trial"], 0))
        with self.costs.of("start"):
            self._tell("on_trial_start", trial)
        heappush(self.queue, (now + EVERY, self.starts, trial))
        self.starts += 1
        return True

    def _report(self, trial: Driven) -> bool:
        name = trial.config["trial"]
        trial.step += EVERY
        self.steps[name] = trial.step
        trial.last_result = progress(trial.step, measured(trial.config["sample"], trial.step, self.noise))
        with self.costs.of("report"):
            verdict = self.scheduler.on_trial_result(None, trial, trial.last_result)
            self._tell("on_step_end")
        leaves = (self.folder / name / PAUSED).exists()
        if verdict == "CONTINUE":
            self._write_checkpoint(name, trial.step)
        if verdict == "CONTINUE" and trial.step < STEPS and not leaves:
            return True
        if leaves:
            (self.folder / name / PAUSED).unlink()
        with self.costs.of("pause" if leaves else "end"):
            self.scheduler.on_trial_complete(None, trial, paused(trial.step) if leaves else trial.last_result)
            self.searcher.on_trial_complete(trial.trial_id)
            self._tell("on_trial_complete", trial)
        return False

    def _tell(self, what: str, *trial: Driven) -> None:
        for callback in self.callbacks:
            getattr(callback, what)(0, [], *trial)

    def _write_checkpoint(self, name: str, step: int) -> None:
        """In the place of the one before, as `checkpoints.keep: 1` would have it."""
        folder = folder_of(self.folder / name / CHECKPOINTS, step)
        before = folder_of(self.folder / name / CHECKPOINTS, step - EVERY)
        if before.exists():
            before.rename(folder)
        else:
            folder.mkdir(parents=True)
            (folder / "model.safetensors").write_bytes(bytes(CHECKPOINT_BYTES))


def opened(folder: Path, mode: str, goals: int, trials: int) -> tuple[SweepSpec, ExperimentFolder, Any]:
    spec = sweep(mode, goals, trials)
    read = {corpus_key(data): DataDigests("0a" * 6, {"docs": "1b" * 6}) for data in spec.search_space.corpora()}
    return spec, ExperimentFolder.of_sweep(spec, folder), read


def stages(spec: SweepSpec, experiment: ExperimentFolder, ledger: Ledger, read: Any) -> str:
    """What `run_sweep` does once everything is checked and prepared."""
    ledger.append(experiment.opening(read))
    notifier = Notifier(None, experiment.folder, ledger.append)
    limits = SweepLimits(spec.budget)
    with MetricsExporter(spec.name, experiment.folder, experiment.now) as metrics:
        room: Any = SimpleNamespace(fits=lambda requested: WORKERS, refuse_more=lambda _: None, request=lambda _: None)
        return sweep_driver._Stages(spec, experiment, ledger, room, read, limits, notifier, metrics).run()


def drive(folder: Path, mode: str, goals: int, sizes: list[int]) -> dict[str, Any]:
    """One sweep of the largest size; its ledger is copied to `<folder>/at-<size>/` whenever it is of one."""
    spec, experiment, read = opened(folder, mode, goals, max(sizes))
    costs, peak, reports = Costs(), dict[int, float](), dict[int, int]()
    draw = Study.draw

    def drawn(self: Study, *given: Any) -> Any:
        before = time.process_time()
        found = draw(self, *given)
        costs.apart += time.process_time() - before
        return found

    def at_size(started: int) -> None:
        if started in sizes and started not in peak:
            there = folder / f"at-{started}" / spec.name
            there.mkdir(parents=True)
            shutil.copy(experiment.folder / NAME, there)
            peak[started], reports[started] = rss_mb(), len(costs.events["report"])

    def tuner(experiment: ExperimentFolder, data: Any, config: TuneConfig, callbacks: list[Any]) -> Loop:
        loop = Loop(experiment, config, callbacks, costs)
        loop.at_size = at_size
        return loop

    Study.draw, sweep_driver._tuner = drawn, tuner  # type: ignore[method-assign, assignment]
    with Ledger(experiment.ledger) as ledger:
        stages(spec, experiment, ledger, read)
    told = {str(size): {"ms": costs.at(size), "mb": peak[size], "reports": reports[size]} for size in sizes}
    print(json.dumps(told))
    return told


def resume(folder: Path, mode: str, goals: int, trials: int) -> dict[str, float]:
    """Until the search could suggest something."""
    spec, experiment, read = opened(folder, mode, goals, trials)
    sweep_driver._tuner = lambda *given: SimpleNamespace(fit=lambda: None)  # type: ignore[assignment]
    began, before = time.perf_counter(), time.process_time()
    assert experiment.recorded() is not None
    with Ledger(experiment.ledger) as ledger:
        stages(spec, experiment, ledger, read)
    return {"cpu_s": time.process_time() - before, "wall_s": time.perf_counter() - began, "mb": rss_mb()}


def report(folder: Path, mode: str, goals: int, trials: int) -> dict[str, float]:
    began, before = time.perf_counter(), time.process_time()
    page = report_page.write(folder / f"{mode}-{goals}")
    told = {"cpu_s": time.process_time() - before, "wall_s": time.perf_counter() - began, "mb": rss_mb()}
    return told | {"page_mb": page.stat().st_size / 1e6}


def live(folder: Path, mode: str, goals: int, trials: int) -> dict[str, float]:
    """As a share of a core; what the writing of reports takes is not counted."""
    _, experiment, _ = opened(folder, mode, goals, trials)
    record = experiment.recorded()
    assert record is not None
    last = next(reversed(record.trials.values()))
    console.out._force_terminal, console.out.file = True, io.StringIO()
    writing, count = 0.0, 0
    with Ledger(experiment.ledger) as ledger, live_view.watching(experiment.record, quiet=False):
        began, before = time.perf_counter(), time.process_time()
        while time.perf_counter() - began < LIVE_S:
            at, count = time.thread_time(), count + 1
            metrics = measured(last.sample, STEPS, np.random.default_rng(count))
            ledger.append(Reported(trial=last.id, step=STEPS + count, seconds=1.0, metrics=metrics))
            writing += time.thread_time() - at
            time.sleep(1 / LIVE_RATE)
        took, wall = time.process_time() - before - writing, time.perf_counter() - began
    return {"share": took / wall, "mb": rss_mb()}


def tpe(folder: Path, mode: str, goals: int, trials: int) -> dict[str, float]:
    """Milliseconds to draw one further point, the least of three."""
    _, experiment, _ = opened(folder, mode, goals, trials)
    spec = sweep(mode, goals, trials + 9, sampler="tpe")
    before = experiment.recorded()
    search = Search(spec, TrialRecorder(lambda event: None, folder, before), history(experiment))
    took = []
    for _ in range(3):
        at = time.process_time()
        search._study.draw({}, {})
        took.append(time.process_time() - at)
    return {"ms": 1000 * min(took)}


def history(experiment: ExperimentFolder) -> Any:
    return list(experiment.now.events)


def rss_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


READ = {"resume": resume, "report": report, "live": live, "tpe": tpe}


def apart(what: str, folder: Path, *told: Any) -> dict[str, Any]:
    """In a process of its own."""
    command = [sys.executable, __file__, "--only", what, "--folder", str(folder), *map(str, told)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


def table(mode: str, goals: int, sizes: list[int], read: list[str], folder: Path) -> None:
    asked = ["--modes", mode, "--goals", goals, "--sizes"]
    driven = apart("drive", folder, *asked, *sizes)
    for size in sizes:
        rest = {}
        for what in read:
            shutil.copytree(folder / f"at-{size}", folder / what)  # some of them write
            rest[what] = apart(what, folder / what, *asked, max(sizes))
            shutil.rmtree(folder / what)
        line, first = driven[str(size)], driven[str(sizes[0])]
        costs = " ".join(
            f"{kind} {line['ms'][kind]:.2f} ms (x{line['ms'][kind] / first['ms'][kind]:.2f})"
            for kind in ("report", "suggest", "start", "pause", "end")
            if line["ms"].get(kind) and first["ms"].get(kind)
        )
        print(f"{mode} {goals} goal(s) {size:6} trials {line['reports']:7} reports, {line['mb']:.0f} MB: {costs}")
        for what, found in rest.items():
            print(f"    {what:7} " + ", ".join(f"{name} {value:.3g}" for name, value in found.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--modes", nargs="+", default=["stop", "pause"], choices=["stop", "pause", "none"])
    parser.add_argument("--goals", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--read", nargs="*", default=list(READ), choices=READ)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", choices=["drive", *READ], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    os.fsync = lambda file: None  # type: ignore[assignment]
    if asked.only == "drive":
        drive(asked.folder, asked.modes[0], asked.goals[0], asked.sizes)
    elif asked.only:
        print(json.dumps(READ[asked.only](asked.folder, asked.modes[0], asked.goals[0], asked.sizes[0])))
    else:
        for mode in asked.modes:
            for goals in asked.goals:
                with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
                    table(mode, goals, asked.sizes, asked.read, Path(folder))


if __name__ == "__main__":
    main()
