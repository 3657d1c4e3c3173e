"""The lab notebook: every sweep and run of a storage on one Markdown page, newest first, made from their ledgers alone.

What was asked, what came out, what it cost, and which other entries its numbers may be set beside.
"""

import html
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from cogito_ray.atomic_files import atomic_write_text, explain_os_error
from cogito_ray.base_spec import digest
from cogito_ray.records import plan_record
from cogito_ray.records.ledger import NAME
from cogito_ray.records.pages.report_page import day, headline, numbered, origins, span
from cogito_ray.records.results.forecast_calibration import calibration, judged
from cogito_ray.records.results.trial_ranking import Ranking, Row, rank
from cogito_ray.records.sweep_record import Record, Trial, read
from cogito_ray.sweeps.budget_spec import duration
from cogito_ray.sweeps.goals.comparability import MUST_AGREE, asked_at
from cogito_ray.sweeps.space.dotted_paths import get

FILE = "notebook.md"
OPENING = (
    "# Lab notebook\n\nWritten by `cogito-ray notebook` from the ledgers beside it, newest first; what is changed here "
    "is lost. Numbers of two entries may be compared only where one names the other."
)

MEASURED_ON_ROWS = tuple(family for family in MUST_AGREE if family != "eval/stsb_")
"""Families of metrics that mean the same on the same rows alone."""


@dataclass(frozen=True)
class Entry:
    """One sweep or run of a storage."""

    name: str
    record: Record
    ranking: Ranking
    axes: tuple[str, ...]
    yardstick: str | None
    """Equal for entries whose numbers may be compared; None for one without a best trial."""


def write(storage: Path | str) -> Path:
    """Make `<storage>/notebook.md` anew."""
    return atomic_write_text(Path(storage) / FILE, render(Path(storage)))


def render(storage: Path) -> str:
    """The page. A ledger that cannot be read is an entry that says so."""
    entries, plans, unreadable = [], [], []
    for ledger in [*sorted(storage.glob(f"*/{plan_record.NAME}")), *sorted(storage.glob(f"*/{NAME}"))]:
        try:
            if ledger.name == plan_record.NAME:
                plans.append(_plan(ledger.parent))
            else:
                entries.append(_entry(ledger))
        except OSError as fault:
            unreadable.append(_unreadable(ledger, explain_os_error(fault)))
        except ValueError as fault:  # damaged, or of another version
            unreadable.append(_unreadable(ledger, str(fault)))
    entries.sort(key=lambda entry: entry.record.openings[0].at, reverse=True)
    fared = calibration(entry.record for entry in entries)
    opening = [OPENING, *([f"{fared.text}."] if fared else [])]
    return "\n\n".join([*opening, *unreadable, *plans, *(_told(entry, entries) for entry in entries)]) + "\n"


def _unreadable(ledger: Path, fault: str) -> str:
    return f"## {escaped(ledger.parent.name)}\n\nCannot be read: {escaped(fault)}"


def _plan(folder: Path) -> str:
    record, name = plan_record.read(folder), folder.name
    facts = f"- a plan of {record.counts}\n- [report]({quote(name)}/report.html)"
    question = escaped(str(record.spec.get("question", "")))
    return "\n\n".join(filter(None, [f"## {escaped(name)}", question, f"**{escaped(record.standing)}**", facts]))


def _entry(ledger: Path) -> Entry:
    record = read(ledger)
    ranking = rank(record)
    return Entry(ledger.parent.name, record, ranking, tuple(record.axes), _yardstick(record, ranking))


def _yardstick(record: Record, ranking: Ranking) -> str | None:
    """What must be equal for the goals' metrics to mean the same (see MUST_AGREE, and the rows), for the best trial."""
    if not ranking.best:
        return None
    trial = record.trials[ranking.best[0].trial]
    metrics = [goal.metric for goal in ranking.goals]
    alike = [places for metric in metrics for family, places in MUST_AGREE.items() if metric.startswith(family)]
    read = None
    if any(metric.startswith(MEASURED_ON_ROWS) for metric in metrics):
        read = trial.data.digest() if trial.data else f"rows that nobody named, {record.opened.sweep}"
    return digest([metrics, read, [[asked_at(trial.spec, place) for place in places] for places in alike]])


def _told(entry: Entry, entries: list[Entry]) -> str:
    record, ranking = entry.record, entry.ranking
    counts = Counter(row.status for row in ranking.rows)
    made = origins(record)
    hosts = ", ".join(dict.fromkeys(opening.provenance.host for opening in record.openings))
    alike = [
        f"[{escaped(other.name)}](#{_anchor(other.name)})"
        for other in entries
        if other is not entry and other.yardstick is not None and other.yardstick == entry.yardstick
    ]
    by = [f"{one.provenance.code}{f': {numbered(one.trials)}' if len(made) > 1 else ''}" for one in made]
    facts = [
        f"{day(record.openings[0].at)}, {duration(span(record))} on {escaped(hosts)}, {escaped('; '.join(by))}",
        f"varied: {', '.join(map(_code, entry.axes))}" if entry.axes else "a single run",
        f"{len(ranking.rows)} trials: " + ", ".join(f"{count} {status}" for status, count in counts.items()),
        *_best(entry),
        *(f"{'holds' if gate.holds else 'does not hold'}: {escaped(f'{gate.condition}; {gate.then}')}"
          for gate in record.gates),
        *(f"taken back: {escaped(one.text)}" for one in record.ablations),
        *(f"forecast: {escaped(one.text)}" for one in judged(record)),
        f"may be compared with {', '.join(alike)}" if alike else "may be compared with no other entry",
        f"[report]({quote(entry.name)}/report.html)",
    ]  # fmt: skip
    question = escaped(str(record.opened.spec.get("question", "")))
    said = [f"## {escaped(entry.name)}", question, f"**{escaped(_outcome(record, ranking))}**"]
    return "\n\n".join([*filter(None, said), "\n".join(f"- {fact}" for fact in facts)])


def _tracked(row: Row, record: Record) -> str:
    """Where a trial can be looked at besides."""
    links = [f"[{where}]({url})" if url.startswith("http") else _code(url) for where, url in record.tracked(row.trial)]
    return f", tracked: {', '.join(links)}" if links else ""


def _outcome(record: Record, ranking: Ranking) -> str:
    found = headline(ranking).text
    return found if record.is_complete else f"Not complete. {found}"


def _best(entry: Entry) -> list[str]:
    return [
        f"trial {row.number} read {_tokens(entry.record.trials[row.trial])}{_further(row)}{_tracked(row, entry.record)}"
        + "".join(f", {_code(path)} {escaped(value)}" for path, value in row.settings.items())
        for row in entry.ranking.best
    ]


def _further(row: Row) -> str:
    if row.further is None:
        return ""
    sound, over = row.further
    return f", {sound} of {over} further runs with other seeds ended in order"


def _tokens(trial: Trial) -> str:
    """What was spent on it: two recipes compare at equal spending only."""
    sizes = [size for path in ("training.batch", "data.length") if isinstance(size := get(trial.spec, path), int)]
    return f"{math.prod([trial.step, *sizes]):,} tokens"


def escaped(text: str) -> str:
    """What a user wrote, on one line, as Markdown that shows it and means nothing else."""
    line = html.escape(" ".join(text.split()), quote=False)
    marked = re.sub(r"([\\`*\[\]|~$]|(?<!\w)_|_(?!\w))", r"\\\1", line)
    return re.sub(r"^(\d*)([-+=#.)])", r"\1\\\2", marked)                       # begins no heading, list or line


def _code(text: str) -> str:
    """As code, within more backticks than it holds in a row."""
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    padding = " " if "`" in text else ""
    return f"{fence}{padding}{' '.join(text.split())}{padding}{fence}"


def _anchor(heading: str) -> str:
    """Where a heading can be found on its page."""
    return quote(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"))
