"""The truth about a sweep: one JSON line per event, appended and on disk before anyone acts on it, never rewritten.

A process killed in the middle of a line leaves a truncated one; whoever appends next ends that line first and says so
in the next. Readers pass over a truncated line only there: anywhere else it is damage, and an error.
"""

import hashlib
import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from cogito_ray.atomic_files import naming, open_to_append
from cogito_ray.base_spec import Spec
from cogito_ray.object_storage.driver_lease import lease_of, refresh
from cogito_ray.object_storage.ledger_segments import segments_of
from cogito_ray.records.control_requests import ControlRequest
from cogito_ray.records.file_locks import hold
from cogito_ray.records.provenance import Provenance
from cogito_ray.sweeps.space.domains import Sample
from cogito_ray.sweeps.space.dotted_paths import Tree
from cogito_ray.sweeps.statistics.rank_agreement import Certificate
from cogito_ray.text.data_digests import DataDigests

NAME = "ledger.jsonl"
"""The ledger's file in a sweep's folder."""
TRIALS, CHECKPOINTS, PROMOTED = "trials", "checkpoints", "promoted"
"""Beside it: folders of one folder a trial, of checkpoints (a run's, a trial's), and of one folder a full run."""
PATIENCE_S = 300.0
"""For other processes' appends, each of which takes milliseconds: longer than any filesystem stands still."""
FORMAT = 5
"""Of what is written here: one more whenever what was written before would be read otherwise. New events, and fields
with a default, stand beside older ones, and older versions say that they are of a newer one."""


class SweepOpened(Spec):
    """A driver starts the sweep, or takes it up again."""

    event: Literal["sweep_opened"] = "sweep_opened"
    at: float
    """Seconds since 1970, as in every event."""
    spec: Tree
    """The SweepSpec."""
    sweep: str
    """Digest of the SweepSpec."""
    provenance: Provenance
    data: dict[str, DataDigests] = {}
    """Of every corpus that trials read, by its `corpus_key`."""
    left_out: dict[str, dict[str, dict[str, int]]] = {}
    """Of those that were cleaned, documents that cleaning left out, by source and reason."""
    rows: dict[str, int] = {}
    """Train rows of every corpus, an epoch, by the digest of its data."""
    format: int = FORMAT
    """Of the ledger from here on."""


class EarlierTrial(Spec):
    """One trial of an earlier sweep, as far as a sampler can learn from it."""

    model_config = ConfigDict(allow_inf_nan=True, ser_json_inf_nan="strings")

    folder: str
    """Of that sweep."""
    sample: Sample
    completed: bool
    """Or stopped."""
    metrics: dict[str, float]
    """The last that were heard of."""
    curve: tuple[tuple[int, float], ...]
    """(step, value) of the first goal's metric."""


class WarmStarted(Spec):
    """What the sampler knew before the first proposal, from the sweeps in `search.warm_start` as they were then."""

    event: Literal["warm_started"] = "warm_started"
    at: float
    trials: tuple[EarlierTrial, ...]


class TrialProposed(Spec):
    """The search has settled on a further trial. On disk before anybody may start it."""

    event: Literal["trial_proposed"] = "trial_proposed"
    at: float
    trial: str
    """Digest of the RunSpec: the trial's name."""
    number: int
    """Order of proposal, from 0."""
    sample: Sample
    spec: Tree
    """The RunSpec; of a copy, with the trial and step at which it branches off."""
    copy_number: int | None = None
    """Which copy of a population it is; None for a trial of its own."""


class SampleRejected(Spec):
    """The sampler drew a point that is no run, or one that there is already: a failed one to the study."""

    event: Literal["sample_rejected"] = "sample_rejected"
    at: float
    sample: Sample
    cause: str


class GridPointExhausted(Spec):
    """No run is left that has these values of the crossed axes: the search goes on without them."""

    event: Literal["grid_point_exhausted"] = "grid_point_exhausted"
    at: float
    point: Sample
    """Empty where no axis is crossed: then the whole space is exhausted."""
    cause: str
    """What was found instead of a further run."""
    whole: bool
    """Has every point there been tried? Not so where a sampler draws numbers that cannot be listed."""


class TrialStarted(Spec):
    """A trial starts, or is taken up again after an interruption."""

    event: Literal["trial_started"] = "trial_started"
    at: float
    trial: str
    """Digest of the RunSpec: the trial's name."""
    number: int
    """Order in which the searcher asked for it, from 0."""
    sample: Sample
    spec: Tree
    """The RunSpec."""
    replicates: str | None = None
    """The trial that is run again here: with another seed, to see how far its values move, or with `changes`."""
    changes: Tree | None = None
    """What it has instead, by dotted path: a rung of a ladder of sizes, or a setting taken back; None elsewhere."""
    data: DataDigests | None = None
    """What it reads; None in a ledger that does not say."""


class Reported(Spec):
    """What a trial measured after `step` steps. NaN and infinity are written as words, for JSON has none."""

    model_config = ConfigDict(allow_inf_nan=True, ser_json_inf_nan="strings")

    event: Literal["reported"] = "reported"
    trial: str
    step: int
    seconds: float
    """Since the trial started, interruptions left out."""
    metrics: dict[str, float]
    rows: str | None = None
    """Names the rows read so far: equal for two runs that saw the same ones at the same positions."""
    notes: tuple[str, ...] = ()
    """What happened since the report before, besides training: what was loaded, a restart, a full disk."""


class Status(StrEnum):
    """Of a trial."""
    COMPLETED = "completed"
    """Ran to its last step."""
    STOPPED = "stopped"
    """By early stopping."""
    FAILED = "failed"
    """Died, or was ended by a guard."""
    UNFINISHED = "unfinished"
    """Started, and not ended yet (or the driver died)."""


Ended = Literal[Status.COMPLETED, Status.STOPPED, Status.FAILED]


class TrialEnded(Spec):
    """A trial is over for good."""

    event: Literal["trial_ended"] = "trial_ended"
    at: float
    trial: str
    status: Ended
    step: int
    cause: str = ""
    """Why it was stopped or failed."""

    @property
    def complete(self) -> bool:
        """Did it run to its last step?"""
        return self.status is Status.COMPLETED


class TrialPaused(Spec):
    """A trial was asked to end, and left a checkpoint to go on from when the sweep is taken up again."""

    event: Literal["trial_paused"] = "trial_paused"
    at: float
    trial: str
    step: int
    cause: str


class Promoted(Spec):
    """A full run that was derived from a trial has ended. Its own ledger tells the rest."""

    model_config = ConfigDict(allow_inf_nan=True, ser_json_inf_nan="strings")

    event: Literal["promoted"] = "promoted"
    at: float
    trial: str
    run: str
    """Digest of the full run's RunSpec."""
    folder: str
    changes: tuple[str, ...]
    """How it differs from the trial: `place: old -> new` each, with the rules by which it follows, if any."""
    complete: bool
    """Did it run to its last step?"""
    cause: str = ""
    """Why not."""
    metrics: dict[str, float]
    """At its last report."""


class PromotionCertified(Spec):
    """Whether the trials' order foretold that of their full runs."""

    event: Literal["promotion_certified"] = "promotion_certified"
    goal: str
    trials: int
    tau: float | None
    low: float | None
    high: float | None
    regret: float | None
    weak: bool
    """Should nobody rely on the proxy?"""
    verdict: str

    @classmethod
    def of(cls, goal: str, found: Certificate) -> Self:
        """One goal's certificate as an event."""
        numbers = {name: getattr(found, name) for name in ("trials", "tau", "low", "high", "regret", "weak")}
        return cls(goal=goal, verdict=found.verdict, **numbers)


class LadderRun(Spec):
    """A run from which a forecast was made."""

    run: str
    """Its name."""
    parameters: int
    """Those of no token table."""
    tokens: int
    """That it read."""
    value: float


class ForecastSealed(Spec):
    """What a full run will reach in one goal, said before it starts."""

    event: Literal["forecast_sealed"] = "forecast_sealed"
    at: float
    trial: str
    run: str
    """Digest of the full run's RunSpec."""
    goal: str
    parameters: int
    """Of the full run, those of no token table."""
    tokens: int
    """That it will read."""
    value: float | None
    low: float | None
    high: float | None
    """The interval that holds it in nine of ten cases. None, all three, where the ladder does not tell."""
    law: str
    """What was fitted, or why the ladder does not tell."""
    ladder: tuple[LadderRun, ...]
    code: str
    """By which it was made."""
    data: str
    """Digest of the text that the trial read; empty in a record that does not say."""
    seal: str = ""
    """SHA-256 of all of the above, so that a later change shows."""

    def sealed(self) -> Self:
        """With its seal."""
        content = self.model_copy(update={"seal": ""}).model_dump_json()
        return self.model_copy(update={"seal": hashlib.sha256(content.encode()).hexdigest()})

    @property
    def is_intact(self) -> bool:
        """Is it what was sealed?"""
        return self.seal == self.sealed().seal


class ForecastScored(Spec):
    """How a forecast fared: the full run has ended."""

    event: Literal["forecast_scored"] = "forecast_scored"
    at: float
    run: str
    goal: str
    seal: str
    """Of the forecast."""
    value: float
    """What the run reached."""
    error: float
    """Forecast over value, less one."""
    inside: bool
    """Did the interval hold it?"""
    differs: tuple[str, ...] = ()
    """Where it did not, how the full run differs from the ladder, in other things than the ladder varies."""


IDLE = "not needed"
"""Verdict on settings that may be taken back."""


class SettingAblated(Spec):
    """What it costs to take back settings that the search found."""

    model_config = ConfigDict(allow_inf_nan=True, ser_json_inf_nan="strings")

    event: Literal["setting_ablated"] = "setting_ablated"
    at: float
    trial: str
    changes: Tree
    """What was taken back to what, by dotted path; several where they were taken back together."""
    was: Tree
    """What the trial has there."""
    goal: str
    cost: float | None
    """By how much the goal was worse, as a share of its value: mean of the differences under the same seeds."""
    low: float | None
    high: float | None
    """Interval of that mean. None, all three, where runs failed."""
    seeds: int
    verdict: str

    @property
    def text(self) -> str:
        """In a line."""
        back = ", ".join(f"{path} {self.was[path]} -> {value}" for path, value in self.changes.items())
        if self.cost is None or self.low is None or self.high is None:
            return f"{back}: {self.verdict}"
        return f"{back}: {self.goal} worse by {self.cost:+.2%} ({self.low:+.2%} to {self.high:+.2%}), {self.verdict}"


class CheckpointsPruned(Spec):
    """Checkpoints that were not needed are deleted, to keep the sweep within its bytes."""

    event: Literal["checkpoints_pruned"] = "checkpoints_pruned"
    at: float
    trial: str
    steps: tuple[int, ...]
    bytes: int


COMPLETE, INTERRUPTED = "complete", "interrupted"
"""Cause of a SweepClosed that leaves nothing to do; how the cause begins where somebody ended the driver."""


class GateJudged(Spec):
    """What a gate of the sweep says of its result."""

    model_config = ConfigDict(allow_inf_nan=True, ser_json_inf_nan="strings")

    event: Literal["gate_judged"] = "gate_judged"
    condition: str
    then: str
    holds: bool
    seen: dict[str, dict[str, float]]
    """The metrics it asks for, of each trial it was judged on."""


class SweepClosed(Spec):
    """The driver ended in order: its budget is spent or it was interrupted."""

    event: Literal["sweep_closed"] = "sweep_closed"
    at: float
    cause: str


class TaskScore(Spec):
    """One answer under one metric, with the interval that covers 95 % of bootstrap resamples."""

    vectors: str
    """Pooling, head or baseline that gave it."""
    baseline: bool
    """Were no concepts used?"""
    metric: str
    value: float
    low: float
    high: float
    resamples: str | None = None
    """The value under each resample, as little-endian float32 in base64; None where only the interval was kept."""


class Evaluated(Spec):
    """A checkpoint was asked a labelled question."""

    event: Literal["evaluated"] = "evaluated"
    at: float
    trial: str
    step: int
    """Of the checkpoint."""
    key: str
    """Digest of weights, tokenizer, task and its data, protocol and its settings, seed and code: equal keys give equal
    scores."""
    checkpoint: str
    """Digest of the weights."""
    code: str
    """Digest of the source that scores come from."""
    task: str
    protocol: str
    settings: Tree
    """Of the protocol."""
    seed: int
    examples: int
    """Scored ones."""
    truncated: int | None = None
    """Of these, how many held a text that is longer than what is read of it; None where this was not counted."""
    rows: str = ""
    """Digest of the scored examples: answers of equal ones were resampled alike."""
    seconds: float
    scores: tuple[TaskScore, ...]


class Noted(Spec):
    """What happened to a run besides training and its reports."""

    event: Literal["noted"] = "noted"
    trial: str
    step: int
    note: str


class Commented(Spec):
    """Somebody wrote what is to be known of an experiment: a conclusion, a doubt."""

    event: Literal["commented"] = "commented"
    at: float
    by: str
    text: str
    trial: str | None = None
    """None: the whole experiment."""


class RowImported(Spec):
    """A row of a log that was kept elsewhere."""

    event: Literal["row_imported"] = "row_imported"
    at: float
    by: str
    row: int
    """Of rows of the same date and name in that table, which one, from 0."""
    cells: dict[str, str]
    """By heading, as they were written."""


class Controlled(Spec):
    """Somebody asked something of the sweep while it ran."""

    event: Literal["controlled"] = "controlled"
    at: float
    id: str
    """Of the request: what was answered is not answered again."""
    by: str
    """Who asked, as far as that is known."""
    request: ControlRequest
    accepted: bool
    outcome: str
    """What comes of it, or why nothing does."""


class Notified(Spec):
    """The command of `notify` was called."""

    event: Literal["notified"] = "notified"
    at: float
    occasion: str
    fault: str = ""
    """Why that failed; empty where it did not."""


RAY_DASHBOARD = "Ray dashboard"


class Linked(Spec):
    """Where else an experiment, or a trial of it, can be looked at."""

    event: Literal["linked"] = "linked"
    at: float
    where: str
    """What it is: Ray's dashboard, or a tracker by its name."""
    url: str
    asks: str = ""
    """What it wants to be shown, and how to get that."""
    trial: str | None = None
    """None: the whole experiment."""


Figures = dict[str, dict[str, float]]
"""What was recorded of each best run of a phase, by the run's name: figure -> value."""


class PlanOpened(Spec):
    """A driver starts the plan, or takes it up again."""

    event: Literal["plan_opened"] = "plan_opened"
    at: float
    spec: Tree


class PhaseStarted(Spec):
    """A phase is due, and its process starts."""

    event: Literal["phase_started"] = "phase_started"
    at: float
    phase: str
    work: Tree
    """Its kind and settings."""
    command: tuple[str, ...]
    folder: str
    why: str = ""
    seen: Figures = {}
    """What its gate was judged on, by phase and run."""


class PhaseEnded(Spec):
    """A phase is over, or will not come as things stand."""

    model_config = ConfigDict(allow_inf_nan=True, ser_json_inf_nan="strings")

    event: Literal["phase_ended"] = "phase_ended"
    at: float
    phase: str
    state: Literal["complete", "failed", "refused", "skipped"]
    """failed: the next driver tries again; refused: its gate does not hold; skipped: it comes after what failed or does
    not come, or in the place of what does."""
    why: str = ""
    seen: Figures = {}
    figures: Figures = {}
    """All that gates may ask of it."""


class TruncatedLine(Spec):
    """The line before this one was cut short by a crash."""

    event: Literal["truncated_line"] = "truncated_line"


Event = Annotated[
    SweepOpened | WarmStarted | TrialProposed | SampleRejected | GridPointExhausted | TrialStarted | Reported
    | TrialEnded | TrialPaused | GateJudged | Promoted | PromotionCertified
    | ForecastSealed | ForecastScored | SettingAblated | SweepClosed | Evaluated | Noted
    | CheckpointsPruned | Commented | Controlled | Notified | Linked | TruncatedLine
    | PlanOpened | PhaseStarted | PhaseEnded | RowImported,
    Field(discriminator="event"),
]
_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


class LedgerFault(ValueError):
    """A ledger that cannot be read."""


class Ledger:
    """Appends to a ledger's file, as other processes may do meanwhile: every event is written under a lock of its own.

    That a run or sweep has one driver is not settled here.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open_to_append(self.path)
        self._segments, self._lease = segments_of(self.path), lease_of(self.path)
        self._append(b"")
        _sync_folder(self.path.parent)

    def append(self, event: Event) -> None:
        """Write one event; it is on disk when this returns."""
        self._append(event.model_dump_json().encode() + b"\n")

    def close(self) -> None:
        """Appends nothing more."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def _append(self, line: bytes) -> None:
        """After the end of a truncated line, whoever left it."""
        with naming(self.path), hold(self.path, patience_s=PATIENCE_S):
            if self._segments is not None and self._lease is not None:
                return self._segments.append(line, self._lease.refuse_lost) if line else None
            if self._is_truncated():
                line = b"\n" + TruncatedLine().model_dump_json().encode() + b"\n" + line
            while line:
                line = line[os.write(self._file, line) :]
            os.fsync(self._file)

    def _is_truncated(self) -> bool:
        size = os.fstat(self._file).st_size
        return size > 0 and os.pread(self._file, 1, size - 1) != b"\n"


class LedgerReader:
    """Follows a ledger's file: reads every event once, whoever appended it, from where it read last.

    Not for several threads at a time.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.offset = 0
        """Bytes of the file that were read."""
        self._line = 1
        self._doubtful: tuple[int, str] | None = None
        """A line that could not be read, and why: damage, unless the next event says that a crash cut it short."""

    def read(self) -> list[Event]:
        """What was appended since, in order; costs what that is long. A line whose end is not written yet is left for
        later. Raises LedgerFault where a line is damaged or of a newer version, and again when asked again."""
        refresh(self.path)
        *lines, rest = (content := _content(self.path, self.offset)).split(b"\n")
        found, doubtful, last = list[Event](), self._doubtful, self._line + len(lines)
        event: Event | str | None = None
        for number, line in enumerate([*lines, rest], start=self._line):
            event = self._parsed(line, number) if line else None
            if isinstance(event, str):
                doubtful = doubtful or (number, event) if number < last else doubtful
            elif event is not None:
                self._refuse(event, number, doubtful)
                doubtful = None
                found.append(event)
        unread = len(rest) if isinstance(event, str) else 0    # else whole, though a crash took the end of the line
        self.offset += len(content) - unread
        self._line, self._doubtful = last, doubtful
        return found

    def _parsed(self, line: bytes, number: int) -> Event | str:
        """Or why it cannot be read."""
        try:
            return _EVENT.validate_json(line)
        except ValidationError as error:
            if _is_newer(line, error):
                raise _newer(self.path, number) from error
            return str(error.errors(include_url=False)[0]["msg"])

    def _refuse(self, event: Event, number: int, doubtful: tuple[int, str] | None) -> None:
        if isinstance(event, SweepOpened):
            written = event.format if "format" in event.model_fields_set else 1    # version 0.1 did not say
            if written > FORMAT:
                raise _newer(self.path, number)
            if written < FORMAT:
                raise LedgerFault(
                    f"{self.path}: line {number} was written by an earlier version of cogito-ray, whose ledgers "
                    f"(format {written}) this one does not read; use that version, or start anew under another name"
                )
        if doubtful and not isinstance(event, TruncatedLine):
            raise LedgerFault(
                f"{self.path}: line {doubtful[0]} is damaged ({doubtful[1]}); restore the file or move it away"
            )


def _content(file: Path, offset: int) -> bytes:
    """What stands behind so many bytes."""
    try:
        with file.open("rb") as opened:
            if opened.seek(0, os.SEEK_END) < offset:
                raise LedgerFault(f"{file}: has become shorter while it was read; restore the file or move it away")
            opened.seek(offset)
            return opened.read()
    except FileNotFoundError as fault:
        said = f"holds no {file.name}, as folders of sweeps and runs do"
        raise FileNotFoundError(fault.errno, said, str(file.parent)) from None


def events(path: Path | str) -> list[Event]:
    """Every event of a ledger's file, in order. Raises LedgerFault where a line is damaged or of a newer version."""
    return LedgerReader(path).read()


def _is_newer(line: bytes, error: ValidationError) -> bool:
    """Is the line whole, but says what only a later version can know?"""
    kinds = {fault["type"] for fault in error.errors(include_url=False, include_input=False)}
    if kinds <= {"extra_forbidden", "union_tag_invalid"}:
        return True
    tree = None if "json_invalid" in kinds else json.loads(line)
    said = tree.get("format") if isinstance(tree, dict) else None
    return isinstance(said, int) and said > FORMAT


def _newer(path: Path | str, number: int) -> LedgerFault:
    return LedgerFault(
        f"{path}: line {number} was written by a newer version of cogito-ray than this one, which reads ledgers of "
        f"format {FORMAT}; upgrade it"
    )


def _sync_folder(folder: Path) -> None:
    """The file's name, too, must survive a crash."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
