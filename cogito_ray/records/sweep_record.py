"""A sweep as its ledger tells it: every trial once, however often it was taken up again. Pure."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Annotated, TypeVar, cast

from pydantic import Field, TypeAdapter

from cogito_ray.records.control_requests import SweepLimits
from cogito_ray.records.ledger import (
    COMPLETE,
    INTERRUPTED,
    Commented,
    Controlled,
    Evaluated,
    Event,
    ForecastScored,
    ForecastSealed,
    GateJudged,
    GridPointExhausted,
    LedgerFault,
    LedgerReader,
    Linked,
    Noted,
    Promoted,
    PromotionCertified,
    Reported,
    SampleRejected,
    SettingAblated,
    Status,
    SweepClosed,
    SweepOpened,
    TrialEnded,
    TrialPaused,
    TrialStarted,
    TruncatedLine,
    events,
)
from cogito_ray.records.provenance import Provenance
from cogito_ray.sweeps.goals.goal_spec import Aim, GoalSpec
from cogito_ray.sweeps.space.domains import Domain, Sample
from cogito_ray.sweeps.space.dotted_paths import Tree, get
from cogito_ray.text.data_digests import DataDigests

Result = TypeVar("Result")
_SPACE: TypeAdapter[dict[str, Domain]] = TypeAdapter(dict[str, Domain])
_GOALS: TypeAdapter[tuple[GoalSpec, ...]] = TypeAdapter(Annotated[tuple[GoalSpec, ...], Field(min_length=1)])
_BOUNDS: TypeAdapter[dict[str, str]] = TypeAdapter(dict[str, str])


@dataclass
class Trial:
    """One trial. Reports are kept by step: the last report of a step counts, as after a resume from a checkpoint."""

    id: str
    number: int
    sample: Sample
    spec: Tree
    started: float
    replicates: str | None = None
    """The trial of which this is a further run."""
    changes: Tree | None = None
    """What it has instead, where it is a rung of a ladder of sizes, or has a setting taken back."""
    data: DataDigests | None = None
    """What it read; None in a record that does not say."""
    reports: dict[int, Reported] = field(default_factory=dict)
    end: TrialEnded | None = None
    paused: TrialPaused | None = None
    """How it was interrupted, where that was in order; None while it runs."""
    began: float = 0.0
    """When it was started or taken up again last, in seconds since 1970."""
    earlier: float = 0.0
    """Seconds it had run before."""
    reached: int = 0
    """The last step reported."""
    longest: float = 0.0
    """The most seconds reported."""
    known: dict[str, float] = field(default_factory=dict)
    """Every metric at the last report that has it."""
    noted: list[Noted] = field(default_factory=list)
    made_by: list[Provenance] = field(default_factory=list)
    """Of the driver that started it, and of each that took it up again with other code, packages or GPUs."""

    @property
    def status(self) -> Status:
        """UNFINISHED also while it waits at a rung."""
        return self.end.status if self.end else Status.UNFINISHED

    @property
    def cause(self) -> str:
        """Why it was stopped, failed or paused; empty otherwise."""
        over = self.end or self.paused
        return over.cause if over else ""

    @property
    def step(self) -> int:
        """Steps done, as far as is known."""
        over = self.end or self.paused
        return max(self.reached, over.step if over else 0, self.branch[1] if self.branch else 0)

    @cached_property
    def steps(self) -> int | None:
        """Steps planned; None in a record that does not say."""
        training = self.spec.get("training")
        steps = training.get("steps") if isinstance(training, dict) else None
        return steps if isinstance(steps, int) else None

    @cached_property
    def branch(self) -> tuple[str, int] | None:
        """The trial of which it is a copy, and the step at which it branches off."""
        run, step = get(self.spec, "branch.run"), get(self.spec, "branch.step")
        return (run, step) if isinstance(run, str) and isinstance(step, int) else None

    @property
    def seconds(self) -> float:
        """Time it ran, interruptions left out; so is the wait of one that left and was ended while it waited."""
        over = self.paused or self.end
        reported = self.longest if self.reports else self.earlier
        return max(reported, self.earlier + over.at - self.began if over else 0.0)

    @property
    def rows(self) -> str | None:
        """Names the rows read up to the last report; equal for two runs that saw the same data."""
        return self.reports[self.reached].rows if self.reports else None

    @property
    def notes(self) -> list[str]:
        """What happened besides training, in order."""
        notes = [(step, note) for step, report in self.reports.items() for note in report.notes]
        notes += [(noted.step, noted.note) for noted in self.noted]
        return [f"step {step}: {note}" for step, note in sorted(notes, key=lambda one: one[0])]

    def curve(self, metric: str) -> list[tuple[int, float]]:
        """(step, value) of every report that has the metric."""
        reports = sorted(self.reports.items())
        return [(step, report.metrics[metric]) for step, report in reports if metric in report.metrics]

    def add(self, report: Reported) -> None:
        """It has reported, or does so again."""
        in_order = not self.reports or report.step > self.reached
        self.reports[report.step] = report
        self.reached, self.longest = max(self.reached, report.step), max(self.longest, report.seconds)
        if in_order:
            self.known |= report.metrics
        else:
            self.known = {name: value for _, one in sorted(self.reports.items()) for name, value in one.metrics.items()}


@dataclass
class Record:
    """What happened in a sweep so far. Memory and time to fold it grow with its events: about 20 microseconds each."""

    path: str = "ledger"
    """Of the ledger, for what is said of it."""
    openings: list[SweepOpened] = field(default_factory=list)
    """One per start of a driver: more than one where the sweep was taken up again."""
    trials: dict[str, Trial] = field(default_factory=dict)
    """By name, in the order they first started: what the search tried."""
    replicates: dict[str, Trial] = field(default_factory=dict)
    """Further runs of some of them with other seeds, by name."""
    variants: dict[str, Trial] = field(default_factory=dict)
    """Runs of some of them at other sizes, from which full runs are foretold, or with a setting taken back, by name."""
    copies: dict[str, Trial] = field(default_factory=dict)
    """Trials that branch off others and are not over, by name."""
    events: list[Event] = field(default_factory=list)
    """All of them, in order: what a search is fed again to go on."""
    rejected: list[SampleRejected] = field(default_factory=list)
    """Points that the sampler drew, and that are no runs or repeat one."""
    exhausted: list[GridPointExhausted] = field(default_factory=list)
    """Parts of the space in which nothing was left to run."""
    gates: list[GateJudged] = field(default_factory=list)
    """Verdicts, the newest of each gate, once the sweep has ended."""
    promoted: dict[str, Promoted] = field(default_factory=dict)
    """Full runs derived from trials, by their digest: the last that was heard of each."""
    certified: dict[str, PromotionCertified] = field(default_factory=dict)
    """Whether trials foretold their full runs, by goal."""
    forecasts: dict[tuple[str, str], ForecastSealed] = field(default_factory=dict)
    """What full runs will reach, by their digest and goal: the first that was sealed counts."""
    scores: dict[tuple[str, str], ForecastScored] = field(default_factory=dict)
    """How those fared that are over."""
    ablations: list[SettingAblated] = field(default_factory=list)
    """What the winner's settings are worth."""
    evaluations: list[Evaluated] = field(default_factory=list)
    """Of checkpoints, in the order they came."""
    comments: list[Commented] = field(default_factory=list)
    """What people wrote about it."""
    controls: list[Controlled] = field(default_factory=list)
    """What was asked of it while it ran."""
    limits: SweepLimits = field(default_factory=SweepLimits)
    """What it may do now."""
    links: dict[tuple[str, str | None], str] = field(default_factory=dict)
    """URLs of where else it can be looked at, by what that is and by trial, None being the whole experiment."""
    asks: dict[str, str] = field(default_factory=dict)
    """What one needs there, by what that is."""
    closing: SweepClosed | None = None
    """None while the sweep runs, or where its driver was killed."""
    spans: list[tuple[float, float]] = field(default_factory=list)
    """When each driver started, and when it was last heard of; seconds since 1970."""

    _computed: dict[Callable[["Record"], object], object] = field(default_factory=dict, repr=False, compare=False)
    """What was computed since the last event."""

    def add(self, event: Event) -> None:
        """What happened next. Raises LedgerFault where it cannot have."""
        if not self.openings and not isinstance(event, SweepOpened | TruncatedLine):
            raise self.unopened()
        self._computed.clear()
        self.events.append(event)
        match event:
            case SweepOpened():
                self.openings.append(event)
                self.spans.append((event.at, event.at))
                self.limits.open(event.spec)
                self.closing = None
                self.gates.clear()
            case GateJudged():
                judged = (event.condition, event.then)
                self.gates = [*(one for one in self.gates if (one.condition, one.then) != judged), event]
            case Promoted():
                self.promoted[event.run] = event
            case PromotionCertified():
                self.certified[event.goal] = event
            case ForecastSealed():
                self.forecasts.setdefault((event.run, event.goal), event)
            case SettingAblated():
                self.ablations.append(event)
            case ForecastScored():
                self.scores[event.run, event.goal] = event
            case SweepClosed():
                self.closing = event
                _alive_at(self, event.at)
            case TrialStarted():
                _start(self, event)
            case Reported() | TrialEnded() | TrialPaused() | Evaluated() | Noted():
                _go_on(self, event)
            case Linked():
                self.links[event.where, event.trial] = event.url
                self.asks[event.where] = f"; {event.asks}" if event.asks else ""
            case SampleRejected():
                self.rejected.append(event)
            case GridPointExhausted():
                self.exhausted.append(event)
            case Commented():
                self.comments.append(event)
            case Controlled():
                self.controls.append(event)
                if event.accepted:
                    self.limits.apply(event.request)
                _alive_at(self, event.at)

    def computed(self, compute: Callable[["Record"], Result]) -> Result:
        """What a pure function makes of it: called once, until something else happens."""
        if compute in self._computed:
            return cast(Result, self._computed[compute])
        found = self._computed[compute] = compute(self)
        return found

    def unopened(self) -> LedgerFault:
        """What to raise where the first line is missing."""
        return LedgerFault(
            f"{self.path}: no sweep was opened in it, or its first line was lost; is it a sweep's ledger?"
        )

    @property
    def wall(self) -> float:
        """Seconds that drivers ran."""
        return sum(last - first for first, last in self.spans)

    def known(self, name: str) -> Trial | None:
        """A trial of the search, or a further run, by its name."""
        return self.trials.get(name) or self.replicates.get(name) or self.variants.get(name)

    @property
    def runs(self) -> dict[str, Trial]:
        """Trials of the search and all further runs, by name."""
        return self.trials | self.replicates | self.variants

    def is_running(self, trial: Trial) -> bool:
        """Was it started by the last driver, and has not been heard to end?"""
        over = trial.end or trial.paused or self.closing
        return over is None and trial.began >= self.opened.at

    @property
    def is_complete(self) -> bool:
        """Is nothing left to do?"""
        return self.closing is not None and self.closing.cause == COMPLETE

    @property
    def is_interrupted(self) -> bool:
        """Was its last driver ended, in order, before its work was?"""
        return self.closing is not None and self.closing.cause.startswith(INTERRUPTED)

    def tracked(self, trial: str | None) -> list[tuple[str, str]]:
        """Trackers that were told of a trial or full run, each with where it can be looked at: a URL or a folder. None:
        the same of the whole experiment."""
        return [(where, url) for (where, told), url in self.links.items() if told == trial]

    @property
    def shown_at(self) -> list[str]:
        """Where else it can be looked at, while it works."""
        links = self.links.items() if not self.closing else ()
        return [f"{where}: {url}{self.asks[where]}" for (where, trial), url in links if trial is None]

    @property
    def opened(self) -> SweepOpened:
        """The latest opening."""
        return self.openings[-1]

    @property
    def left_out(self) -> list[tuple[str, dict[str, int]]]:
        """Of each source that was cleaned, documents left out by reason; of corpora that were cleaned alike, once."""
        corpora = {key: read for opening in self.openings for key, read in opening.left_out.items()}
        every = [(source, counts) for read in corpora.values() for source, counts in read.items()]
        return [one for number, one in enumerate(every) if one not in every[:number]]

    @property
    def data(self) -> dict[str, DataDigests]:
        """What was read of every corpus, by its `corpus_key`."""
        return {key: read for opening in self.openings for key, read in opening.data.items()}

    @property
    def goals(self) -> tuple[GoalSpec, ...]:
        """What the sweep ranks by."""
        return _GOALS.validate_python(self.opened.spec.get("goals"))

    @property
    def aim(self) -> Aim:
        """Goals and constraints."""
        return Aim.of(self.goals, _BOUNDS.validate_python(self.opened.spec.get("constraints", {})))

    @property
    def axes(self) -> dict[str, Domain]:
        """What varied, and how."""
        return _SPACE.validate_python(self.opened.spec.get("space"))


def read(path: Path | str) -> Record:
    """The record that a ledger's file tells. Raises LedgerFault."""
    return fold(events(path), str(path))


def fold(history: Iterable[Event], path: str = "ledger") -> Record:
    """The record that these events tell, in their order. Raises LedgerFault where they open no sweep."""
    record = Record(path)
    for event in history:
        record.add(event)
    if not record.openings:
        raise record.unopened()
    return record


class SharedRecord:
    """The record of a ledger that grows, kept up to date: every event is read and folded once, whoever appended it.

    A process has one of each sweep and hands it to whoever asks, threads included.
    """

    def __init__(self, path: Path | str):
        self._reader, self._record, self._lock = LedgerReader(path), Record(str(path)), RLock()

    def __getstate__(self) -> dict[str, object]:
        """Nothing: Tune pickles into its folder whatever it is given, and the ledger is the state."""
        return {}

    @contextmanager
    def now(self) -> Iterator[Record]:
        """As the ledger is by now, and unchanged in the block. Raises LedgerFault, and FileNotFoundError while there is
        none; one whose first line is not written yet has no openings."""
        with self._lock:
            for event in self._reader.read():
                self._record.add(event)
            yield self._record


def _start(record: Record, event: TrialStarted) -> None:
    """A trial that starts again goes on where it was: its reports stay, its end is open."""
    trial = record.known(event.trial)
    if trial is None:
        trial = Trial(
            event.trial, event.number, event.sample, event.spec, event.at, event.replicates, event.changes, event.data
        )
        further = record.replicates if event.changes is None else record.variants
        (record.trials if event.replicates is None else further)[event.trial] = trial
    if trial.branch:
        record.copies[event.trial] = trial
    _made(trial, record.opened.provenance)
    trial.began, trial.earlier = event.at, trial.seconds
    trial.end = trial.paused = None
    _alive_at(record, event.at)


def _made(trial: Trial, provenance: Provenance) -> None:
    """A trial of which one part was made by other code than another says so."""
    changes = trial.made_by[-1].changes(provenance) if trial.made_by else []
    if changes:
        note = f"goes on with other code, packages or GPUs: {'; '.join(changes)}"
        trial.noted.append(Noted(trial=trial.id, step=trial.step, note=note))
    if changes or not trial.made_by:
        trial.made_by.append(provenance)


def _go_on(record: Record, event: Reported | TrialEnded | TrialPaused | Evaluated | Noted) -> None:
    """What a trial that has started reports, or how it ends."""
    if (trial := record.known(event.trial)) is None:
        raise LedgerFault(f"{record.path}: trial {event.trial} is named, but never started")
    match event:
        case Reported():
            trial.add(event)
            _alive_at(record, trial.began + event.seconds - trial.earlier)
        case TrialEnded():
            trial.end = event
            record.copies.pop(event.trial, None)
            _alive_at(record, event.at)
        case TrialPaused():
            trial.paused = event
            _alive_at(record, event.at)
        case Evaluated():
            record.evaluations.append(event)
        case Noted():
            trial.noted.append(event)


def _alive_at(record: Record, at: float) -> None:
    """The driver was alive at this time."""
    first, last = record.spans[-1]
    record.spans[-1] = (first, max(last, at))
