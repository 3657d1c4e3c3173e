"""Runs what is left of a plan: starts phases that are due, records what they measured, says which will not come."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from cogito_ray.atomic_files import atomic_write_text
from cogito_ray.experiment_result import load
from cogito_ray.plans.due_phases import Decision, decide
from cogito_ray.plans.phase_figures import recorded
from cogito_ray.plans.plan_file import Plan
from cogito_ray.plans.plan_spec import AnalysisPhase, EvaluationPhase, RunPhase
from cogito_ray.records import ledger as events
from cogito_ray.records.ledger import Event, Ledger
from cogito_ray.records.plan_record import NAME, PlanRecord, read, told
from cogito_ray.records.sweep_progress import spent
from cogito_ray.records.sweep_record import read as recorded_by
from cogito_ray.runtime.experiment_folder import ANEW, ExperimentFolder, closing
from cogito_ray.runtime.plan.phase_processes import BY_RAY, PhaseProcesses
from cogito_ray.sweeps.budget_spec import BudgetSpec, Spent
from cogito_ray.sweeps.yaml_io.yaml_writer import diff, dump, inline

PATIENCE_S = 5.0
"""For this driver's own signal, where a phase had its signal already: a second one would find it closing its record."""
Listener = Callable[[str], None]


def run_plan(plan: Plan, storage: Path, listener: Listener = lambda _: None) -> PlanRecord:
    """Do what is left; the listener hears in lines what happens. ValueError where what is complete has changed; Busy
    while another driver is at work. On KeyboardInterrupt phases are interrupted in order, and the record says so."""
    folder = storage.absolute() / plan.spec.name
    with ExperimentFolder(folder, {}).driving():
        record = read(folder) if (folder / NAME).exists() else PlanRecord()
        refuse_changes(plan, record)
        with Ledger(folder / NAME) as ledger:
            return _Driver(plan, folder, ledger, record, listener).run()


def refuse_changes(plan: Plan, record: PlanRecord) -> None:
    """ValueError, with every difference, where what is complete or under way is not what the plan says now."""
    changes = list[str]()
    for name, started in record.started.items():
        if record.state(name) != "failed":
            now = plan.work(name) if name in plan.spec.phases else "(absent)"
            changes += diff(started.work, now, f"phases.{name}")
    if changes:
        way_out = f"put that back, and write what is to be done otherwise as a further phase; or {ANEW}"
        said = ["the plan has changed where it has been carried out:", *(f"  {one}" for one in changes), way_out]
        raise ValueError("\n".join(said))


class _Driver:
    def __init__(self, plan: Plan, folder: Path, ledger: Ledger, record: PlanRecord, listener: Listener):
        self.plan, self.spec, self.folder, self.storage = plan, plan.spec, folder, folder.parent
        self.ledger, self.record, self.listener = ledger, record, listener
        self.processes, self.began = PhaseProcesses(folder / "phases"), time.time()

    def run(self) -> PlanRecord:
        self._append(events.PlanOpened(at=time.time(), spec=self.spec.model_dump(mode="json")))
        try:
            while self._moved():
                time.sleep(0.5)
            cause = self._cause()
        except KeyboardInterrupt:
            cause = f"{events.INTERRUPTED}; the same command goes on from here"
            self.processes.interrupt(self._running())
        self._append(closing(cause))
        return self.record

    def _running(self) -> list[str]:
        return [name for name in self.spec.phases if self.record.state(name) == "running"]

    def _moved(self) -> bool:
        """Record what is over, start what is due. Is anything under way?"""
        for name in self._running():
            if not self.processes.is_running(name):
                self._end(name)
        while (found := decide(self.spec, self.record)) and found[0].state != "due":
            for one in found:
                self._append(events.PhaseEnded.model_validate({"at": time.time(), **vars(one)}))
        started = found if not found or not self._exhausted() else []
        for one in started:
            self._start(one)
        return bool(started or self._running())

    def _start(self, due: Decision) -> None:
        name, work = due.phase, self.plan.work(due.phase)
        try:
            command = self._command(name)
        except (OSError, ValueError) as fault:
            return self._end_as("failed", name, str(fault))
        gate = {"why": due.why, "seen": due.seen, "folder": str(self._experiment(name))}
        self._append(events.PhaseStarted(at=time.time(), phase=name, work=work, command=command, **gate))
        return self.processes.start(name, command) if command else self._end_as("complete", name)

    def _end(self, name: str) -> None:
        """Where the machine went down with it, or it was interrupted while no driver saw it, it starts again."""
        status, interrupted = self.processes.status(name), self._interrupted_at(name)
        if status is None or (status != 0 and interrupted and interrupted < self.began):
            started = self.record.started[name]
            return self._start(Decision(name, "due", started.why, started.seen))
        if status != 0 and interrupted:
            if BY_RAY in os.environ:
                time.sleep(PATIENCE_S)
            raise KeyboardInterrupt
        if status != 0 and not (status == 1 and self._has_result(name)):
            said = f"exit status {status}: {self.processes.last_line(name)} (see {self.processes.log(name)})"
            return self._end_as("failed", name, said)
        try:
            figures = recorded(self.spec, name, self.storage)
        except (OSError, ValueError) as fault:
            return self._end_as("failed", name, str(fault))
        return self._append(events.PhaseEnded(at=time.time(), phase=name, state="complete", figures=figures))

    def _end_as(self, state: str, name: str, why: str = "") -> None:
        self._append(events.PhaseEnded.model_validate({"at": time.time(), "phase": name, "state": state, "why": why}))

    def _interrupted_at(self, name: str) -> float | None:
        """When a phase was, since its last start. As this driver is, then, or will hear to be: who stops a job signals
        its processes one by one."""
        started = self.record.started[name]
        ledger = Path(started.folder) / events.NAME
        if started.command[:1] not in {("train",), ("sweep",)} or not ledger.is_file():
            return None
        closing, interrupted = (record := recorded_by(ledger)).closing, record.is_interrupted
        return closing.at if closing is not None and interrupted and closing.at > started.at else None

    def _has_result(self, name: str) -> bool:
        """Although its command says otherwise: a sweep that spent its budget, full runs that were foretold wrongly."""
        command, result = self.spec.phases[name].command, load(self._experiment(name))
        if command == "sweep":
            return result.state.startswith("budget.") and bool(result.front)
        promoted = result.record.promoted.values()
        return command == "promote" and bool(promoted) and all(one.complete for one in promoted)

    def _experiment(self, name: str) -> Path:
        return self.storage / self.spec.experiment(name)

    def _command(self, name: str) -> tuple[str, ...]:
        phase = self.spec.phases[name]
        if isinstance(phase, EvaluationPhase):
            promoted = self.spec.phases[phase.of].command == "promote"
            asked = self._experiment(name) / (events.PROMOTED if promoted else "")
            ways = [("--protocol", inline(way) if isinstance(way, dict) else way) for way in phase.asked]
            listed = {"--tasks": phase.tasks, "--iterations": phase.iterations, "--length": phase.lengths}
            given = {option: ",".join(map(str, values)) for option, values in listed.items()}
            given |= {"--seeds": str(phase.seeds), "--limit": str(phase.limit or ""), "--data": phase.data or ""}
            more = [(option, value) for option, value in given.items() if value]
            return (phase.command, str(asked), *sum([*ways, *more], ()))
        if isinstance(phase, AnalysisPhase):
            times = ("--iterations", ",".join(map(str, phase.iterations))) if phase.iterations else ()
            to = ("--texts", str(phase.texts), "--out", str(self.folder / name))
            return (phase.command, str(self._best(phase.of)), *to, *times)
        if not phase.command:
            return ()
        file = self.folder / "phases" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(file, self._settings(name))
        called = ("--name", self.spec.experiment(name)) if phase.command == "train" else ()
        return (phase.command, str(file), *called, "--storage", str(self.storage))

    def _settings(self, name: str) -> str:
        phase, tree = self.spec.phases[self.spec.source(name)], self.plan.settings[name].model_dump(mode="json")
        if isinstance(phase, RunPhase) and (weights := phase.start_from) is not None:
            checkpoint = max(self._best(weights.phase).glob("checkpoints/step-*"))
            start = {"kind": "checkpoint", "folder": str(checkpoint), **weights.model_dump(exclude={"phase"})}
            tree.get("run", tree)["start_from"] = start
        return dump(tree)

    def _best(self, name: str) -> Path:
        result = load(self._experiment(name))
        return (result.promoted if self.spec.phases[name].command == "promote" else result.front)[0].path

    def _exhausted(self) -> str:
        folders = {one.folder for one in self.record.started.values() if one.command} if self.spec.budget else ()
        each = [spent(load(folder).record) for folder in folders]
        total = Spent(*(sum(getattr(one, unit) for one in each) for unit in ("gpu_hours", "cpu_hours", "wall_s")))
        return BudgetSpec.model_validate({"trials": 1, **self.spec.budget}).exhausted(total)

    def _cause(self) -> str:
        states = {name: self.record.state(name) for name in self.spec.phases}
        if stopped := [name for name, state in states.items() if state == "refused" and self.spec.phases[name].stop]:
            return f"stopped at {', '.join(stopped)}: decide, change the plan, and give its command again"
        if failed := [name for name, state in states.items() if state == "failed"]:
            return f"{', '.join(failed)} failed; the same command tries again"
        return self._exhausted() if "waiting" in states.values() else events.COMPLETE

    def _append(self, event: Event) -> None:
        self.ledger.append(event)
        self.record.add(event)
        if isinstance(event, events.PhaseStarted | events.PhaseEnded):
            said = [f"{event.phase}: {self.record.state(event.phase)}", *told(self.record, event.phase)]
            self.listener("; ".join(said))
