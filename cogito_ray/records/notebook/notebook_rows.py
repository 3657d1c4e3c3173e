"""Rows of the notebook, made from ledgers alone."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cogito_ray.base_spec import digest
from cogito_ray.evaluation.score_names import EVALUATED
from cogito_ray.object_storage.driver_lease import refresh
from cogito_ray.records import plan_record
from cogito_ray.records.ledger import NAME, PROMOTED, Commented, Evaluated, Event, SweepOpened, events
from cogito_ray.records.pages.report_page import day, headline
from cogito_ray.records.results.evaluation_scores import scored
from cogito_ray.records.results.forecast_calibration import judged
from cogito_ray.records.results.trial_ranking import figures, rank
from cogito_ray.records.sweep_record import Record, Trial, fold
from cogito_ray.sweeps.goals.comparability import MUST_AGREE, asked_at
from cogito_ray.sweeps.space.dotted_paths import Tree, get
from cogito_ray.sweeps.yaml_io.yaml_writer import inline

NAMED = "{model}_H{width}L{depth}C{concepts}_{date}_{time}"
"""What runs are called where nobody said otherwise."""
STSB = "eval/stsb_spearman_mean"
METRICS = {
    "model/parameters": "parameters", "concepts/effective_rank": "effective_rank", "time/mfu": "mfu",
    "concepts/nuclear_rank": "nuclear_rank", "time/tokens_per_s": "tokens_per_s", STSB: "stsb_in_training",
}  # fmt: skip
NUMBERS = (*METRICS.values(), "tokens", "epochs", "task_loss")
"""Of a row, as far as they are known."""
FORMS = {"parameters": "{:,.0f}", "epochs": "{:.3g}", "tokens": "{:,.0f} tokens", "tokens_per_s": "{:,.0f} tokens/s",
         "mfu": "MFU {:.1%}", "stsb_in_training": "stsb in training {:.3f}"}  # fmt: skip
ON_ROWS = tuple(family for family in MUST_AGREE if family != "eval/stsb_")
"""Families of metrics that mean the same on the same rows alone."""


@dataclass(frozen=True)
class NotebookRow:
    """A line of the notebook."""

    at: float
    """Seconds since 1970; of what was imported, nothing is known but the date."""
    cells: Mapping[str, str]
    """Plain text by column, of one line or more."""
    ledger: Path
    trial: str | None = None
    """Which of what stands in that ledger it is; None: the whole experiment."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    yardstick: str | None = None
    """Equal for rows whose goals may be compared; None where there is nothing to compare."""


def records_of(storage: Path) -> Iterator[Record | NotebookRow]:
    """Every sweep and run, full runs of sweeps among them; what is none, or cannot be read, as the row that says so."""
    made: dict[str, Callable[[Path], Record | NotebookRow]] = {f"*/{plan_record.NAME}": _plan, f"*/{NAME}": _record}
    for pattern, read in {**made, f"*/{PROMOTED}/*/{NAME}": _record, f"{EVALUATED}/*/{NAME}": _record}.items():
        for file in sorted(storage.glob(pattern)):
            try:
                yield read(file)
            except (OSError, ValueError) as fault:      # damaged, or of another version
                yield _bare(file, 0.0, f"cannot be read: {fault}")


def rows_of(records: Sequence[Record | NotebookRow], template: str) -> Iterator[NotebookRow]:
    """Of each run, and of the best, repeated and evaluated trials of each sweep. `template`: see `name_of`."""
    known = [record for record in records if isinstance(record, Record)]
    # of full runs, their sweeps' ledgers tell both
    forecasts = [one for record in known for one in judged(record)]
    links = [(trial, f"{where}: {at}") for record in known for (where, trial), at in record.links.items()]
    for record in records:
        if isinstance(record, NotebookRow):
            yield record
            continue
        ledger, ranking = Path(record.path), record.computed(rank)
        best = [row.trial for row in ranking.best or ranking.rows[:1]]
        again = [name for name, run in record.replicates.items() if run.replicates in best]
        shown = dict.fromkeys([*best, *again, *(event.trial for event in record.evaluations)])
        if not shown:
            yield _bare(ledger, record.opened.at, "no trial has started", question=_question(record))
        for trial in map(record.runs.__getitem__, shown):
            cells = {
                "run": name_of(trial, ledger.parent.name, template),
                "link": _lines(line for name, line in links if name == trial.id),
                "forecast": _lines(one.text for one in forecasts if trial.id in (one.sealed.run, one.sealed.trial)),
                "conclusion": _lines(_conclusions(record, trial, is_first=trial.id == next(iter(shown)))),
            }
            yield _row(record, trial, cells)


def name_of(trial: Trial, folder: str, template: str) -> str:
    """By a template of {model} (decoder and objective), {width}, {depth}, {concepts}, {seed}, {folder}, {number},
    {date} and {time}. ValueError where it asks for something else."""
    kinds = [str(kind) for place in ("model.decoder", "objective") if (kind := get(trial.spec, f"{place}.kind"))]
    began = datetime.fromtimestamp(trial.started, UTC)
    sizes = {"width": "model.width", "depth": "model.encoder.depth", "concepts": "model.concepts", "seed": "seed"}
    known: dict[str, object] = {name: _size(trial.spec, path) for name, path in sizes.items()}
    known |= {"model": "_".join(dict.fromkeys(kinds)), "folder": folder, "number": trial.number}
    known |= {"date": f"{began:%Y%m%d}", "time": f"{began:%H%M%S}"}
    try:
        return template.format_map(known)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        names = ", ".join(f"{{{name}}}" for name in known)
        raise ValueError(f"{template!r} is no template of names; it may have text and {names}") from None


def comments_in(told: Iterable[Event]) -> list[str]:
    """What people wrote, with author and day."""
    return [f"{one.text} ({one.by}, {day(one.at)[:10]})" for one in told if isinstance(one, Commented)]


def _record(ledger: Path) -> Record | NotebookRow:
    told = events(ledger)
    asked = [event for event in told if isinstance(event, Evaluated)]
    if asked and not any(isinstance(event, SweepOpened) for event in told):     # a model that was made elsewhere
        scores, said = _scores(asked), "\n".join(comments_in(told))
        return _bare(ledger, asked[-1].at, said, run=asked[-1].trial, state="evaluated", scores=scores)
    record = fold(told, str(ledger))
    for run in record.promoted:
        refresh(ledger.parent / PROMOTED / run / NAME)
    record.computed(rank)       # which reads all that a row needs
    return record


def _plan(file: Path) -> NotebookRow:
    record = plan_record.read(file.parent)
    told = [f"a plan of {record.counts}", record.standing, *comments_in(record.comments)]
    return _bare(file, record.openings[0].at, "\n".join(told), question=str(record.spec.get("question", "")))


def _bare(file: Path, at: float, conclusion: str, **cells: str) -> NotebookRow:
    told = {"date": day(at)[:10] if at else "", "run": file.parent.name, "conclusion": conclusion, **cells}
    return NotebookRow(at, told, file)


def _question(record: Record) -> str:
    return str(record.opened.spec.get("question") or get(record.opened.spec, "run.question") or "")


def _row(record: Record, trial: Trial, cells: dict[str, str]) -> NotebookRow:
    known = {METRICS[name]: value for name, value in trial.known.items() if name in METRICS} | _spent(record, trial)
    possible = min(_size(trial.spec, "model.concepts"), _size(trial.spec, "model.width"))
    forms = FORMS | dict.fromkeys(("effective_rank", "nuclear_rank"), f"{{:.3g}} / {possible}")
    told = {name: form.format(known[name]) for name, form in forms.items() if name in known}
    sources, made = get(trial.spec, "data.sources"), [opening.provenance for opening in record.openings]
    goals = {goal.metric: trial.known.get(goal.metric) for goal in record.goals}
    answers = [event for event in record.evaluations if event.trial == trial.id]
    told |= _settings(trial.spec) | {
        "date": day(trial.started)[:10],
        "state": _lines([_place(record, trial), trial.status, trial.cause]),
        "data": _lines([", ".join(sources) if isinstance(sources, dict) else "", told["tokens"]]),
        "speed": _lines(told.get(name, "") for name in ("tokens_per_s", "mfu")),
        "machine": _lines(", ".join([one.host, *(one.gpus or ())]) for one in made),
        "task_loss": _lines(f"{metric} {figures(value)}" for metric, value in goals.items()),
        "scores": _lines([told.get("stsb_in_training", ""), _scores(answers)]),
        "code": _lines(one.describe or one.code for one in trial.made_by),
        "question": _question(record),
    }
    known |= {"task_loss": loss} if (loss := next(iter(goals.values()))) is not None else {}
    yardstick = None if None in goals.values() else _yardstick(record, trial)
    return NotebookRow(trial.started, told | cells, Path(record.path), trial.id, known, yardstick)


def _lines(told: Iterable[str]) -> str:
    """Each once."""
    return "\n".join(dict.fromkeys(filter(None, told)))


def _place(record: Record, trial: Trial) -> str:
    """What it is in its sweep; nothing of a run on its own."""
    if trial.replicates is not None:
        return f"trial {trial.number} again, seed {get(trial.spec, 'seed')}"
    if record.axes:
        return f"trial {trial.number} of {len(record.trials)}"
    return "full run" if Path(record.path).parents[1].name == PROMOTED else ""


def _size(spec: Tree, path: str) -> int:
    return found if isinstance(found := get(spec, path), int) else 0


def _spent(record: Record, trial: Trial) -> dict[str, float]:
    """Tokens that it read, and how often all rows, in a record that says how many these are."""
    rows, read = trial.step * _size(trial.spec, "training.batch"), trial.data.digest() if trial.data else ""
    whole = max(opening.rows.get(read, 0) for opening in record.openings)
    return {"tokens": rows * _size(trial.spec, "data.length")} | ({"epochs": rows / whole} if whole else {})


def _kind(part: object, *told: str) -> str:
    """A part of the settings by its kind, with these of its settings that it has."""
    named = part if isinstance(part, dict) else {"kind": "none"}
    return ", ".join([str(named["kind"]), *(f"{one} {inline(named[one])}" for one in told if named.get(one))])


def _settings(spec: Tree) -> dict[str, str]:
    sizes = {"H": "model.width", "L": "model.encoder.depth", "C": "model.concepts", "N": "data.length"}
    encoder, every = get(spec, "model.encoder"), get(spec, "loss.regularisers")
    parts = [f"{name} {_kind(encoder[name])}" for name in ("block", "tokens")] if isinstance(encoder, dict) else []
    parts += ["tied"] if get(spec, "model.encoder.tied") else []
    parts += [f"tokens of width {width}"] if (width := get(spec, "model.token_width")) else []
    losses = [_kind(one) for one in [get(spec, "loss.contrast"), *(every if isinstance(every, list) else [])] if one]
    losses += ["bag of words"] if get(spec, "loss.bag_of_words") is not None else []
    losses += [_kind(get(spec, "loss.weighting"), "weights", "share")] if losses else ["none"]
    shape = [" ".join(f"{letter}{get(spec, path)}" for letter, path in sizes.items()), *parts]
    shape += [f"decoder {_kind(get(spec, 'model.decoder'), 'depth')}"]
    objective = _kind(get(spec, "objective"), "rate", "target_rate")
    return {"architecture": "\n".join(shape), "objective": objective, "losses": "\n".join(losses)}


def _scores(answers: Iterable[Evaluated]) -> str:
    """The first metric of every question, at the last step it was asked at, of the best that used concepts."""
    rows = [row for row in scored(answers) if not row.baseline]
    first = {(row.task, row.protocol): row.metric for row in reversed(rows)}
    asked = [row for row in rows if row.metric == first[row.task, row.protocol]]
    best = {(row.task, row.protocol): row for row in sorted(asked, key=lambda row: (row.step, row.value))}
    return "\n".join(
        f"{task} {protocol} {row.metric} {row.value:.3f} ({row.low:.3f} to {row.high:.3f}), {row.vectors}"
        for (task, protocol), row in best.items()
    )


def _conclusions(record: Record, trial: Trial, *, is_first: bool) -> Iterator[str]:
    """What a sweep came to stands with its first row; what people wrote of a trial, with that."""
    ranking = record.computed(rank)
    if is_first and record.axes:
        yield f"{'' if record.is_complete else 'Not complete. '}{headline(ranking).text}"
    if is_first:
        yield from (f"{'holds' if one.holds else 'does not hold'}: {one.condition}; {one.then}" for one in record.gates)
        yield from (f"taken back: {one.text}" for one in record.ablations)
    for further in (row.further for row in ranking.rows if row.trial == trial.id and row.further):
        yield f"{further[0]} of {further[1]} further runs with other seeds ended in order"
    yield from comments_in(one for one in record.comments if one.trial == trial.id or (is_first and one.trial is None))


def _yardstick(record: Record, trial: Trial) -> str:
    """What must be equal for the goals' metrics to mean the same (see MUST_AGREE), the rows among it."""
    metrics = [goal.metric for goal in record.goals]
    alike = [places for metric in metrics for family, places in MUST_AGREE.items() if metric.startswith(family)]
    read = None
    if any(metric.startswith(ON_ROWS) for metric in metrics):
        read = trial.data.digest() if trial.data else f"rows that nobody named, {record.opened.sweep}"
    return digest([metrics, read, [[asked_at(trial.spec, place) for place in places] for places in alike]])
