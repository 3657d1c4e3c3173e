"""What a sweep or run came to, as an object: what `cogito_ray.sweep`, `train` and `load` give.

Names are those of `optuna.Study` and its trials, and of Ray's `Result`. All is told from the ledger alone: nothing here
needs Ray, and only loading a model needs torch.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cogito_ray.object_storage.storage_mirror import local
from cogito_ray.records.ledger import CHECKPOINTS, NAME, PROMOTED, TRIALS, Reported, Status
from cogito_ray.records.results.trial_ranking import Ranking, Row, rank
from cogito_ray.records.sweep_record import Record, Trial, read
from cogito_ray.sweeps.space.domains import Scalar
from cogito_ray.sweeps.space.dotted_paths import Tree, get

if TYPE_CHECKING:
    import pandas as pd

    from cogito_ray.analysis.analysis_result import Analysis
    from cogito_ray.evaluation.sentence_encoder import SentenceEncoder
    from cogito_ray.nn.model import ConceptModel
    from cogito_ray.records.results.evaluation_scores import Scored
    from cogito_ray.records.results.forecast_calibration import JudgedForecast
    from cogito_ray.run_spec import RunSpec
    from cogito_ray.sweeps.sweep_spec import SweepSpec

FRAME_HEIGHT = 800
"""Pixels that a page has in a notebook."""


@dataclass(frozen=True)
class TrialResult:
    """One trial of a sweep, or the one run that `train` trained."""

    name: str
    """Digest of its settings, by which ledgers, folders and trackers name it."""
    number: int
    """Order in which it was proposed, from 0."""
    state: Status
    """completed, stopped (early), failed or unfinished."""
    rank: int | None
    """1 = best; None for a trial without a sound final value."""
    front: int | None
    """Of which front of Pareto it is, 1 = beaten by no other in every goal; None without a rank."""
    values: Mapping[str, float | None]
    """Each goal's metric as it was ranked by: the last reported, or the mean over further runs with other seeds."""
    params: Mapping[str, Scalar]
    """What the sweep varied, by dotted path: of a preset its name, of a ratio the size that it became."""
    config: Tree = field(repr=False)
    """All settings of the run."""
    metrics: Mapping[str, float] = field(repr=False)
    """Every metric at the last report that has it."""
    step: int
    """Steps done."""
    steps: int | None
    """Steps planned."""
    seconds: float
    """Time it ran, interruptions left out."""
    error: str
    """Why it failed, or was stopped or interrupted; empty otherwise."""
    path: Path
    """Its folder."""
    reports: tuple[Reported, ...] = field(repr=False)
    """All that it reported, in the order of steps."""

    @property
    def history(self) -> pd.DataFrame:
        """One row a report: `step`, `seconds` since the start, and every metric."""
        import pandas as pd

        return pd.DataFrame([{"step": one.step, "seconds": one.seconds, **one.metrics} for one in self.reports])

    @property
    def checkpoint(self) -> Path | None:
        """The folder of its newest checkpoint; None where it has none, or none any more."""
        return max(self.path.glob(f"{CHECKPOINTS}/step-*"), default=None)

    @property
    def run_spec(self) -> RunSpec:
        """Its settings, validated: what `train` takes. ValidationError where this version does not read them."""
        from cogito_ray.run_spec import RunSpec

        return RunSpec.model_validate(self.config)

    def model(self) -> ConceptModel:
        """The model of its newest checkpoint, on the CPU and in evaluation mode. FileNotFoundError where there is none,
        BadCheckpoint (a ValueError) where it is damaged."""
        from cogito_ray.evaluation.checkpoint_loader import TrainedModel

        return TrainedModel.open(self.path).model

    def encoder(self) -> SentenceEncoder:
        """The same model with its tokenizer. `trial.encoder().pooled(texts, "mean")` gives vectors (n, D)."""
        from cogito_ray.evaluation.checkpoint_loader import TrainedModel

        return TrainedModel.open(self.path).sentence_encoder


@dataclass(frozen=True)
class Report:
    """A page that needs nothing else. In a notebook it shows itself."""

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def _repr_html_(self) -> str:
        """In a frame of its own, for it has its own style and scripts (4.5 MB)."""
        page = html.escape(self.path.read_text(encoding="utf-8"))
        return f'<iframe srcdoc="{page}" style="width: 100%; height: {FRAME_HEIGHT}px; border: 0"></iframe>'


@dataclass(frozen=True, repr=False)
class Result:
    """A sweep, or a run, as its ledger told it when this was made.

    `metrics`, `checkpoint`, `history`, `model()` and `encoder()` are those of the run, or of a sweep's `best` trial.
    """

    path: Path
    """Its folder."""
    record: Record
    """All that its ledger tells."""

    @property
    def name(self) -> str:
        """Of the experiment, as its file has it; the folder's where the ledger names none."""
        return str(self.record.opened.spec.get("name", self.path.name))

    @property
    def is_complete(self) -> bool:
        """Is nothing left to do?"""
        return self.record.is_complete

    @property
    def state(self) -> str:
        """`complete`, or why it ended before that, and what to do about it."""
        return self.record.closing.cause if self.record.closing else "under way, or its driver was killed"

    @cached_property
    def ranking(self) -> Ranking:
        """Its trials in order of merit, with what a reader of that order must know."""
        return rank(self.record)

    @cached_property
    def trials(self) -> tuple[TrialResult, ...]:
        """Best first, as in the report; those without a rank come last."""
        found = [(row, self.record.trials[row.trial]) for row in self.ranking.rows]
        if not self.is_sweep:
            return tuple(_trial(row, trial, self.path) for row, trial in found)
        return tuple(_trial(row, trial, self.path / TRIALS / trial.id) for row, trial in found)

    @property
    def is_sweep(self) -> bool:
        """Or else a single run."""
        return bool(self.record.axes)

    @property
    def front(self) -> tuple[TrialResult, ...]:
        """The best trials: with several goals those that no other beats in every one, with one goal the winner, and
        whatever further runs with other seeds could not tell from it. Empty where no trial ended soundly."""
        best = {row.number for row in self.ranking.best}
        return tuple(trial for trial in self.trials if trial.number in best)

    @property
    def best(self) -> TrialResult:
        """The winner. ValueError where there is none, or where it is not for us to say which of `front` it is."""
        if not self.front:
            raise ValueError(f"{self.path}: no trial of it has ended soundly ({self.state}), so none is best")
        if self.ranking.winner is None:
            numbers = ", ".join(str(trial.number) for trial in self.front)
            folders = ", ".join(str(trial.path) for trial in self.front)
            why = "cannot be told apart" if len(self.ranking.goals) == 1 else "beat each other in one goal or another"
            raise ValueError(f"{self.path}: trials {numbers} {why}; choose one of its `front`: {folders}")
        return self.front[0]

    @property
    def metrics(self) -> Mapping[str, float]:
        """Every metric at the last report."""
        return self._one.metrics

    @property
    def checkpoint(self) -> Path | None:
        """The folder of the newest checkpoint."""
        return self._one.checkpoint

    @property
    def history(self) -> pd.DataFrame:
        """One row a report."""
        return self._one.history

    def model(self) -> ConceptModel:
        """See `TrialResult.model`."""
        return self._one.model()

    def encoder(self) -> SentenceEncoder:
        """See `TrialResult.encoder`."""
        return self._one.encoder()

    @property
    def promoted(self) -> tuple[Result, ...]:
        """Full runs that `promote` trained."""
        return tuple(load(self.path / PROMOTED / run) for run in self.record.promoted)

    @property
    def forecasts(self) -> tuple[JudgedForecast, ...]:
        """What the ladder foretold of full runs, and what became of it."""
        from cogito_ray.records.results.forecast_calibration import judged

        return tuple(judged(self.record))

    def to_dataframe(self) -> pd.DataFrame:
        """One row a trial, best first: number, name, state, rank, front; each goal; each setting that varied, by dotted
        path; step, steps, seconds, error; then every other metric."""
        import pandas as pd

        frame = pd.DataFrame([_flat(trial) for trial in self.trials])
        return frame.astype({"rank": "Int64", "front": "Int64"}) if self.trials else frame

    def report(self) -> Report:
        """Write report.html anew from the ledger, and give it; a notebook shows it."""
        from cogito_ray.records.pages.report_page import write

        return Report(write(self.path))

    def __repr__(self) -> str:
        return f"<Result of {self.path}: {len(self.trials)} trials, {self.state}>"

    def _repr_html_(self) -> str:
        """The table up to `error`: with all metrics it would be too wide to read."""
        table = self.to_dataframe()
        shown = table.loc[:, :"error"] if self.trials else table
        return f"<p>{html.escape(repr(self))}</p>{shown.to_html(index=False, na_rep='', float_format='{:.4g}'.format)}"

    @property
    def _one(self) -> TrialResult:
        """Of a run also where it has not ended, or failed."""
        return self.best if self.is_sweep or not self.trials else self.trials[0]


class Interrupted(KeyboardInterrupt):
    """A sweep or run was interrupted, and is recorded: the same call goes on from there."""

    def __init__(self, result: Result):
        super().__init__(f"{result.path}: {result.state}; the same call goes on from here")
        self.result = result
        """What was done until then."""


@dataclass(frozen=True)
class Scores:
    """What checkpoints answered to labelled tasks, one row a score, beside baselines that use no concepts."""

    rows: tuple[Scored, ...]
    computed: int
    """Answers that no ledger held before."""
    known: int
    """Answers that ledgers held."""
    faults: tuple[str, ...]
    """Of checkpoints and questions that failed; the others were answered nevertheless."""

    def to_dataframe(self) -> pd.DataFrame:
        """One row a score: trial, step, task, protocol, vectors, metric, value, its 95 % interval from low to high."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.rows])

    def _repr_html_(self) -> str:
        return str(self.to_dataframe().drop(columns="settings", errors="ignore").to_html(index=False))


@dataclass(frozen=True)
class AnalysisReport:
    """What the concepts of one checkpoint, or of two, look like, know and read."""

    report: Report
    data: Path
    """The same as JSON."""
    analyses: tuple[Analysis, ...]

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


@dataclass(frozen=True)
class Checked:
    """Settings that are sound."""

    spec: SweepSpec | RunSpec
    text: str
    """What they are, in a line."""
    notes: tuple[str, ...] = ()
    """What to know of them."""

    def __str__(self) -> str:
        return "\n".join([self.text, *(f"  note: {note}" for note in self.notes)])


def load(folder: str | Path) -> Result:
    """What is recorded in the folder of a sweep or run, also while it works.

        cr.load("runs/quickstart").to_dataframe()

    FileNotFoundError where no ledger is there, LedgerFault (a ValueError) where it is damaged.
    """
    return Result(folder := local(folder), read(folder / NAME))


def _trial(row: Row, trial: Trial, path: Path) -> TrialResult:
    return TrialResult(
        name=trial.id,
        number=trial.number,
        state=trial.status,
        rank=row.rank,
        front=row.front,
        values=row.values,
        params=dict(_params(trial)),
        config=trial.spec,
        metrics=dict(trial.known),
        step=trial.step,
        steps=trial.steps,
        seconds=trial.seconds,
        error=trial.cause,
        path=path,
        reports=tuple(report for _, report in sorted(trial.reports.items())),
    )


def _params(trial: Trial) -> Iterator[tuple[str, Scalar]]:
    """The sample, with the sizes that its ratios became."""
    for path, drawn in trial.sample.items():
        became = get(trial.spec, path)
        yield path, became if isinstance(became, int | float) and not isinstance(drawn, str) else drawn


def _flat(trial: TrialResult) -> dict[str, object]:
    """Its row of a table, as a mapping of columns."""
    known = {"number": trial.number, "name": trial.name, "state": str(trial.state), "rank": trial.rank}
    ran = {"step": trial.step, "steps": trial.steps, "seconds": trial.seconds, "error": trial.error}
    told = known | {"front": trial.front} | dict(trial.values) | dict(trial.params) | ran
    return told | {name: value for name, value in trial.metrics.items() if name not in told}
