"""What a sweep tries next, and what it makes of what it hears: first on record, then told to policy and study.

The ledger is the only state. Every event goes through `_apply`, whether it happens now or is replayed when a search
begins; `trial_state` has the table of what follows from each. What is proposed next follows from the sweep's seed and
the ledger alone. So a driver may be killed between any two writes: the next one goes on as if nothing had happened.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final

import numpy as np
from optuna.trial import FrozenTrial, Trial
from pydantic import ValidationError

from cogito_ray.base_spec import digest
from cogito_ray.records.control_requests import (
    AddPoint,
    ControlRequest,
    PauseTrial,
    ResumeTrial,
    StopTrial,
    SweepLimits,
)
from cogito_ray.records.ledger import (
    Controlled,
    Event,
    GridPointExhausted,
    Reported,
    SampleRejected,
    Status,
    SweepOpened,
    TrialEnded,
    TrialPaused,
    TrialProposed,
    TrialStarted,
    WarmStarted,
)
from cogito_ray.records.results.disk_quota_priority import step_passed
from cogito_ray.records.sweep_record import Record
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.search.optuna_study import Study
from cogito_ray.runtime.search.pbt_branching import PopulationBranching
from cogito_ray.runtime.search.round_robin import RoundRobin
from cogito_ray.runtime.search.search_warm_start import earlier_trials, frozen
from cogito_ray.runtime.search.trial_state_machine import PAUSE, STOP, Phase, SearchTrial
from cogito_ray.runtime.trial_recorder import Config, TrialRecorder
from cogito_ray.sweeps.budget_spec import PEAK
from cogito_ray.sweeps.early_stopping.policy import Policy, Verdict
from cogito_ray.sweeps.space.domains import Sample
from cogito_ray.sweeps.space.dotted_paths import Tree
from cogito_ray.sweeps.space.space_points import combined
from cogito_ray.sweeps.space.validation_messages import explain
from cogito_ray.sweeps.statistics.memory_forecast import OUT_OF_MEMORY, MemoryForecast
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.sweep_validation import point_faults
from cogito_ray.text.data_digests import DataDigests

FINISHED: Final = "FINISHED"
"""Nothing more will be handed out; the word that Tune's searchers say."""
PROPOSALS, DRAWS, LISTED = 5, 200, 4096
"""Samples in a row that may be no new run until the sampler is asked no more; and then random ones, until a
grid point counts as exhausted, unless at most so many samples have its values: those are all tried."""
SAME = "the same run as trial "


class Search:
    """Hands out a sweep's trials: those under way when the last driver ended, those that waited and copies before new
    ones."""

    def __init__(
        self,
        sweep: SweepSpec,
        recorder: TrialRecorder,
        history: Iterable[Event] = (),
        *,
        policy: Policy | None = None,
        written: Callable[[str, int], bool] = lambda trial, step: True,
    ):
        """`history`: the ledger's events. `policy`: another than the sweep's own, told nothing yet. `written`: has the
        trial a checkpoint of this step?"""
        self._sweep, self._recorder = sweep, recorder
        self._policy = policy or sweep.policy()
        self._study, self._aim, self._written = Study(sweep), sweep.aim, written
        self._trials: dict[str, SearchTrial] = {}
        self._in: dict[Phase, dict[str, SearchTrial]] = {phase: {} for phase in Phase}
        self._handed_out = set[str]()
        """Names of trials that Tune was given, and has not started yet: their phase is still that of before."""
        self._lost: dict[str, SearchTrial] = {}
        """Those RUNNING whose process is gone before it had left at a rung, and that were not handed out again yet."""
        self._grid = RoundRobin(sweep.search_space.grid_points(), single=not sweep.search_space.distributions())
        self._asked = self._rejected = 0
        self._exhausted: list[GridPointExhausted] = []
        self._members = 0
        """Trials that are no copies: what `budget.trials` counts."""
        self._runs, self._faults = dict[str, str](), dict[str, str]()
        """Digest of a sample -> the name of its run, or why it is none."""
        self._memory = MemoryForecast(sweep.budget.memory_bytes)
        self._copier = PopulationBranching(sweep, self._policy, written)
        self._closed: str | None = None
        self._changed: Callable[[FrozenTrial], None] | None = None
        self._limits, self._wanted = SweepLimits(sweep.budget), deque[Sample]()
        """The second: points that somebody added, and that were not drawn yet."""
        self._warm = not sweep.search.warm_start
        self._data: dict[str, DataDigests] = {}
        for event in history:
            self._apply(event)
        self._interrupt()
        self._catch_up()
        self._stop_requested()
        if not self._warm:
            self._record(WarmStarted(at=time.time(), trials=tuple(earlier_trials(sweep, self._data))))

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles into its folder whatever it is given, and the ledger is the state."""
        return {}

    @property
    def trials(self) -> list[FrozenTrial]:
        """As the study has them, samples that were rejected and trials of earlier sweeps included."""
        return [self._study.shown(trial) for trial in self._study.trials]

    @property
    def phases(self) -> dict[str, Phase]:
        """Where every trial stands, by name."""
        return {name: trial.phase for name, trial in self._trials.items()}

    def follow(self, changed: Callable[[FrozenTrial], None]) -> None:
        """`changed` is told of every trial of the study that changes from now on, as it then stands."""
        self._changed = changed

    @property
    def exhausted(self) -> bool:
        """Is there nothing left to do: is all that was handed out over, the budget, or the space, used up, and every
        copy made?"""
        left = any(self._in[phase] for phase in Phase if phase is not Phase.OVER) or self._copier.due(self._trials)
        return not left and not self._wanted and (self._members >= self._most or self._grid.next() is None)

    @property
    def left(self) -> int:
        """Trials under way, due or to be drawn still, as far as can be told."""
        drawn = self._grid.left(max(0, self._most - self._members))
        return len(self._in[Phase.RUNNING]) + len(self._in[Phase.DUE]) + len(self._wanted) + drawn

    @property
    def shortfall(self) -> str:
        """Why there are fewer trials than the budget has room for, where it cannot be that all there are have run."""
        missed = [point for point in self._exhausted if not point.whole]
        if not missed or self._members >= self._most:
            return ""
        causes = "; ".join(dict.fromkeys(point.cause for point in missed))
        return (
            f"only {self._members} of {self._most} trials could be drawn: {causes}; under another name, "
            "narrow the space, or leave out with `exclude` what is no run"
        )

    def sources(self, record: Record) -> set[tuple[str, int]]:
        """Checkpoints (trial, step) from which copies are to go on, or may have to once others come to that step."""
        if not self._policy.sources and not self._policy.copies:
            return set()
        due = self._copier.sources(self._trials, record.trials)
        passed = min([step_passed(record, self._sweep.budget.trials), *(step for _, step in due)])
        return due | {(name, step) for name, step in self._policy.sources if step > passed}

    def _tell(self, trial: Trial) -> None:
        if self._changed is not None:
            self._changed(self._study.shown(trial))

    def close(self, cause: str) -> None:
        """Hand out nothing more, though something may be left."""
        self._closed = cause

    @property
    def on_hold(self) -> bool:
        """Is a trial kept back until somebody resumes it?"""
        return bool(self._in[Phase.HELD])

    def consider(self, request: ControlRequest) -> str:
        """What will come of what is asked of one trial, or for a further one; nothing of the rest, which others answer.
        ValueError where nothing can."""
        match request:
            case AddPoint():
                self._refuse_point(request.point)
                return "it is the next new trial, besides those of the budget"
            case StopTrial() | PauseTrial() | ResumeTrial():
                return self._considered(request)
            case _:
                return ""

    def _refuse_point(self, point: Sample) -> None:
        """ValueError where it cannot be added."""
        space = self._sweep.search_space
        faults = list(point_faults(space, point, "point", space.axes))
        unsaid = [path for path in space.crossed() if path not in point and space.axes[path].applies(point)]
        faults += [f"point.{path}: is not drawn, so it must be given" for path in unsaid]
        if not faults and self._crossed(point) not in self._grid:
            faults.append("point: no point of the space has these values together")
        if not faults and set(point) == set(space.varying(point)) and isinstance(run := self._judge(point), str):
            faults.append(f"point: is {run}" if run.startswith(SAME) else f"point: {run}")
        if faults:
            raise ValueError("; ".join(faults))

    def _considered(self, request: StopTrial | PauseTrial | ResumeTrial) -> str:
        trial = self._trials.get(request.trial)
        if trial is None or trial.phase is Phase.OVER:
            raise ValueError(f"trial {request.trial} is {'not one of this sweep' if trial is None else 'over'}")
        runs = trial.phase is Phase.RUNNING or trial.name in self._handed_out
        match request:
            case StopTrial():
                return "it is stopped" + (" at its next report" if runs else f" at step {trial.step}")
            case PauseTrial():
                if trial.requested is PAUSE:
                    raise ValueError(f"trial {request.trial} is paused already")
                return "it leaves a checkpoint at its next report" if runs else "it waits"
            case ResumeTrial():
                if trial.requested is not PAUSE:
                    raise ValueError(f"trial {request.trial} is not paused on request")
                return "it goes on"

    def controlled(self, event: Controlled) -> None:
        """This was granted, and is on record."""
        self._apply(event)
        self._stop_requested()

    def suggest(self) -> Config | str | None:
        """The next trial. None while only those under way can tell whether there will be another; FINISHED when there
        is none."""
        if self._closed is not None:
            return FINISHED
        found = self._next()
        if found is None and self.is_busy:
            return None
        if found is None:
            if not self.on_hold:
                self._give_up()
            return FINISHED
        self._handed_out.add(found.name)
        self._lost.pop(found.name, None)
        return found.config

    def started(self, config: Config) -> None:
        """Tune has started a trial that was handed out."""
        self._apply(self._recorder.started(config))

    def report(self, config: Config, result: Mapping[str, Any]) -> Verdict:
        """What a trial under way has measured. May it go on?"""
        event = self._recorder.reported(config, result)
        return Verdict(keep=True) if event is None else self._judge_report(event)

    def ended(self, config: Config, result: Mapping[str, Any] | None, *, error: bool = False) -> None:
        """A trial runs no longer; `result` is the last that it reported."""
        trial = self._trials[config["trial"]]
        if trial.phase is not Phase.OVER:  # Tune tells twice of one whose end it could not work off
            why = self._closed or trial.verdict.cause or PAUSE.cause
            self._apply(self._recorder.ended(config, result, error=error, stopped=trial.verdict.cause, paused=why))

    def lost(self, config: Config, cause: str) -> None:
        """The process of a trial is gone: it is handed out again before new ones."""
        trial = self._trials[config["trial"]]
        self._handed_out.discard(trial.name)
        if trial.name in self._policy.waiting and not self._written(trial.name, trial.step):
            self._lost[trial.name] = trial    # it is to come to its rung again, and then to leave with a checkpoint
        elif trial.phase is Phase.RUNNING:
            self._apply(self._recorder.lost(config, cause))

    def _record(self, event: Event) -> None:
        self._recorder.append(event)
        self._apply(event)

    def _apply(self, event: Event) -> None:
        """Take to heart what is in the ledger."""
        match event:
            case SweepOpened():
                self._data |= event.data
                self._limits.open(event.spec)
                self._interrupt()
            case WarmStarted():
                self._study.learn(frozen(self._sweep, trial) for trial in event.trials)
                self._warm = True
            case SampleRejected():
                self._reject(event, self._study.draw_again(self._crossed(event.sample), event.sample))
            case GridPointExhausted():
                self._grid.exhausted(event.point)
                self._exhausted.append(event)
                self._rejected = 0
            case TrialProposed():
                self._propose(event)
            case TrialStarted() if event.replicates is None:
                self._start(event)
            case Reported() | TrialPaused() | TrialEnded() if event.trial in self._trials:
                self._go_on(event)
            case Controlled(accepted=True):
                self._limits.apply(event.request)
                self._obey(event.request)

    def _go_on(self, event: Reported | TrialPaused | TrialEnded) -> None:
        trial = self._trials[event.trial]
        match event:
            case Reported():
                self._judge_report(event)
            case TrialPaused():
                self._move(trial, self._left_in(trial))
                if trial.name in self._policy.waiting:
                    self._study.waits(trial.study_trial)
            case TrialEnded():
                trial.failed = event.status is Status.FAILED
                if trial.failed and event.cause.startswith(OUT_OF_MEMORY):
                    self._memory.died(trial.name, trial.proposal.spec)
                self._study.tell(trial.study_trial, event, trial.metrics, trial.reports)
                self._move(trial, Phase.OVER)
                self._tell(trial.study_trial)

    def _propose(self, event: TrialProposed, drawn: Trial | None = None) -> SearchTrial:
        """`drawn`: in the study, where it has just been drawn."""
        crossed = self._crossed(event.sample)
        if event.copy_number is not None:
            drawn = self._study.add(event)
        else:
            drawn = drawn or self._study.draw_again(crossed, event.sample)
            self._grid.served(crossed)
            self._rejected, self._members = 0, self._members + 1
            self._drew()
        self._study.name(drawn, event, crossed)
        trial = self._trials[event.trial] = self._in[Phase.DUE][event.trial] = SearchTrial(event, drawn)
        self._tell(drawn)
        return trial

    def _reject(self, event: SampleRejected, drawn: Trial) -> None:
        self._study.reject(drawn, event)
        self._rejected += 1
        self._drew()
        self._tell(drawn)

    def _drew(self) -> None:
        """What somebody added comes before whatever else is drawn."""
        if self._wanted:
            self._wanted.popleft()
        else:
            self._asked += 1

    def _start(self, event: TrialStarted) -> None:
        trial = self._trials[event.trial]
        if trial.phase is not Phase.RUNNING and trial.name in self._policy.waiting:
            self._policy.resumed(trial.name)
        self._study.goes_on(trial.study_trial)
        self._move(trial, Phase.RUNNING)

    def _judge_report(self, event: Reported) -> Verdict:
        trial, merit = self._trials[event.trial], self._aim.merit(event.metrics)
        verdict = self._policy.report(trial.name, event.step, event.metrics)
        trial.step, trial.metrics = event.step, trial.metrics | event.metrics
        if trial.peak_gb < (peak := event.metrics.get(PEAK, 0.0)):
            trial.peak_gb = peak
            self._memory.measured(trial.name, trial.proposal.spec, peak * 1e9)
        if merit.finite and event.step > max(trial.reports, default=-1):
            trial.reports[event.step] = [event.metrics[goal.metric] for goal in self._aim.goals]
            self._study.report(trial.study_trial, event.step, trial.reports[event.step])
            self._tell(trial.study_trial)
        if trial.requested is not None and (verdict.keep or trial.requested is STOP):
            verdict = trial.requested
        if event.step >= trial.config["run"]["training"]["steps"]:
            verdict = Verdict(keep=True)
        trial.verdict = verdict
        return verdict

    def _interrupt(self) -> None:
        """The last driver is gone: what was under way is to be handed out again."""
        for trial in list(self._in[Phase.RUNNING].values()):
            self._move(trial, Phase.HELD if trial.requested is PAUSE else Phase.DUE)

    def _left_in(self, trial: SearchTrial) -> Phase:
        """Where one stands that runs no longer and is not over."""
        if trial.requested is PAUSE:
            return Phase.HELD
        return Phase.WAITING if trial.name in self._policy.waiting else Phase.DUE

    def _obey(self, request: ControlRequest) -> None:
        """What was asked of one trial, or for a further one."""
        match request:
            case StopTrial():
                self._trials[request.trial].requested = STOP
            case PauseTrial():
                trial = self._trials[request.trial]
                trial.requested = PAUSE
                if trial.phase is not Phase.RUNNING and trial.name not in self._handed_out:
                    self._move(trial, Phase.HELD)
            case ResumeTrial():
                trial = self._trials[request.trial]
                trial.requested = None
                if trial.phase is Phase.HELD:
                    self._move(trial, self._left_in(trial))
            case AddPoint():
                self._wanted.append(request.point)
            case _:
                pass

    def _stop_requested(self) -> None:
        """Who is to stop and does not run, is over at once; who runs, at the next report."""
        for phase in (Phase.DUE, Phase.WAITING, Phase.HELD):
            for trial in list(self._in[phase].values()):
                if trial.requested is STOP and trial.step and trial.name not in self._handed_out:
                    trial.verdict = STOP
                    self._stop(trial)

    def _catch_up(self) -> None:
        """What was decided on the last report of a trial, but not written down, comes about now."""
        for trial in list(self._in[Phase.DUE].values()):
            verdict = trial.verdict
            if trial.name in self._policy.waiting and self._written(trial.name, trial.step):
                self._record(TrialPaused(at=time.time(), trial=trial.name, step=trial.step, cause=verdict.cause))
            elif not verdict.keep and not verdict.waits:
                self._stop(trial)

    def _stop(self, trial: SearchTrial) -> None:
        cause = trial.verdict.cause
        self._record(TrialEnded(at=time.time(), trial=trial.name, status=Status.STOPPED, step=trial.step, cause=cause))

    def _move(self, trial: SearchTrial, phase: Phase) -> None:
        del self._in[trial.phase][trial.name]
        self._handed_out.discard(trial.name)
        trial.phase = phase
        self._in[phase][trial.name] = trial

    @property
    def is_busy(self) -> bool:
        """Is a trial under way, or handed out?"""
        return len(self._in[Phase.RUNNING]) > len(self._lost) or bool(self._handed_out)

    def _next(self) -> SearchTrial | None:
        to_start = chain(self._lost.values(), self._in[Phase.DUE].values())
        due = next((trial for trial in to_start if trial.name not in self._handed_out), None)
        found = due or self._promoted(idle=False) or self._copy() or self._new()
        return found if found or self.is_busy else self._promoted(idle=True)

    def _promoted(self, *, idle: bool) -> SearchTrial | None:
        """One that waits and is to go on. Who is about to wait, but runs still, is asked about when it has paused."""
        name = self._policy.promoted(_Without(self._in[Phase.WAITING], self._handed_out), idle=idle)
        return None if name is None else self._trials[name]

    def _give_up(self) -> None:
        """Nobody is left to be compared with: who waits still, has waited in vain."""
        for trial in list(self._in[Phase.WAITING].values()):
            self._stop(trial)

    def _copy(self) -> SearchTrial | None:
        """A copy that takes the place of a stopped trial."""
        if (made := self._copier.next(self._trials)) is None:
            return None
        copy, sample, run = made
        event = self._proposal(sample, run, copy.number)
        self._recorder.append(event)
        return self._propose(event)

    def _new(self) -> SearchTrial | None:
        """A run not had yet; None when the budget or the space is used up."""
        while self._wanted:
            wanted = self._wanted[0]
            if (made := self._proposed(self._crossed(wanted), wanted)) is not None:
                return made
        while self._members < self._most and (point := self._grid.next()) is not None:
            if (made := self._drawn(point)) is not None:
                return made
        return None

    def _proposed(self, point: Sample, given: Sample) -> SearchTrial | None:
        """One draw, with these values `given`; None, on record, if it is no new run."""
        drawn = self._study.draw(point, given)
        sample = drawn.params | point
        run = self._judge(sample)
        if isinstance(run, RunSpec):
            return self._settled(sample, run, drawn)
        rejected = SampleRejected(at=time.time(), sample=sample, cause=run)
        self._recorder.append(rejected)
        self._reject(rejected, drawn)
        return None

    def _drawn(self, point: Sample) -> SearchTrial | None:
        """A run not had yet with these values of the crossed axes; None, on record, if there is none."""
        first = self._sweep.search.start_with  # asked for by the user: however many of them are no runs
        while self._sweep.search_space.distributions() and (self._rejected < PROPOSALS or self._asked < len(first)):
            start = first[self._asked : self._asked + 1]
            if (made := self._proposed(point, start[0] if start else {})) is not None:
                return made
        causes, listed = Counter[str](), self._listed(point)
        for sample in islice(self._study.at_random(point), DRAWS) if listed is None else listed:
            run = self._judge(sample)
            if isinstance(run, RunSpec):
                return self._settled(sample, run, self._study.draw(point, sample))
            causes[run] += 1
        cause = _summary(causes)
        self._record(GridPointExhausted(at=time.time(), point=point, cause=cause, whole=listed is not None))
        return None

    def _listed(self, point: Sample) -> Iterator[Sample] | None:
        """Every point with these values of the crossed axes, in random order; None where they are too many, or cannot
        be listed."""
        space, drawn = self._sweep.search_space.ordered, self._sweep.search_space.distributions()
        if any(space[path].values() is None for path in drawn):
            return None
        held = {path: (value,) for path, value in point.items()}
        listed = {path: held.get(path) or space[path].values() or () for path in space if path in held or path in drawn}
        points = list(islice(combined(space, listed, self._sweep.exclude), LISTED + 1))
        if len(points) > LISTED:
            return None
        order = np.random.default_rng(self._study.seeds(3)[2]).permutation(len(points))
        return (points[index] for index in order)

    def _settled(self, sample: Sample, run: RunSpec, drawn: Trial) -> SearchTrial:
        event = self._proposal(sample, run)
        self._recorder.append(event)
        return self._propose(event, drawn)

    def _proposal(self, sample: Sample, run: RunSpec, copy_number: int | None = None) -> TrialProposed:
        return TrialProposed(
            at=time.time(),
            trial=run.digest(),
            number=len(self._trials),
            sample=sample,
            spec=run.model_dump(mode="json"),
            copy_number=copy_number,
        )

    def _judge(self, sample: Sample) -> RunSpec | str:
        """The run that a sample describes, or why it is none that could be tried. Validating takes milliseconds, and
        samplers repeat themselves."""
        if self._sweep.search_space.excludes(sample):
            return "left out by `exclude`"
        key = digest(sample)
        if self._runs.get(key) not in self._trials and key not in self._faults:
            found = self._validated(sample)
            if isinstance(found, RunSpec):
                self._runs[key] = found.digest()
                if self._runs[key] not in self._trials:
                    return self._memory.refusal(found.model_dump(mode="json")) or found
            else:
                self._faults[key] = found
        return self._faults.get(key) or f"{SAME}{self._trials[self._runs[key]].proposal.number}"

    def _validated(self, sample: Sample) -> RunSpec | str:
        tree: Tree = {}
        try:
            return RunSpec.model_validate(tree := self._sweep.search_space.tree(sample))
        except ValidationError as error:
            return "; ".join(explain(error, tree, RunSpec))
        except ValueError as error:
            return str(error)

    def _crossed(self, sample: Sample) -> Sample:
        return {path: sample[path] for path in self._sweep.search_space.crossed() if path in sample}

    @property
    def _most(self) -> int:
        """Trials that are no copies, as the budget is now."""
        return self._limits.budget.trials if self._limits.budget else self._sweep.budget.trials


@dataclass(frozen=True)
class _Without:
    """A difference of two sets that nobody has to make."""

    names: Container[str]
    others: Container[str]

    def __contains__(self, name: object) -> bool:
        return name in self.names and name not in self.others


def _summary(causes: Counter[str]) -> str:
    """What was found at a grid point instead of a further run."""
    if causes.total() == 1:
        return next(iter(causes))
    others = {cause: count for cause, count in causes.items() if not cause.startswith(SAME)}
    same = causes.total() - sum(others.values())
    said = [f"{same} points are trials already"] if same else []
    if others:
        said.append(f"{sum(others.values())} points are no runs, such as: {max(others, key=others.__getitem__)}")
    return "; ".join(said)
