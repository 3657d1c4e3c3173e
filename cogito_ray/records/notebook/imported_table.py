"""What people gave to a storage's notebook: rows of a log in Markdown that was kept elsewhere, and how runs are called.

Rows are in a ledger of their own: nothing in it is ever rewritten, and what was imported before is imported once.
"""

import re
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from cogito_ray.atomic_files import atomic_write_text
from cogito_ray.object_storage.driver_lease import refresh
from cogito_ray.object_storage.storage_mirror import fetch, upload
from cogito_ray.records.ledger import Commented, Event, Ledger, RowImported, events
from cogito_ray.records.notebook.notebook_rows import NAMED, NotebookRow, comments_in, name_of
from cogito_ray.records.sweep_record import Trial

FILE, NAMES = Path("notebook", "imported", "rows.jsonl"), Path("notebook", "names.txt")
"""Below a storage."""
HEADINGS = {
    "date": "date", "run id / model type": "run", "run id": "run", "run": "run", "architecture": "architecture",
    "parameters": "parameters", "pretraining data": "data", "data": "data", "machine": "machine", "epochs": "epochs",
    "objective": "objective", "concept losses": "losses", "task loss": "task_loss", "eff. rank": "nuclear_rank",
    "effective rank": "nuclear_rank", "nuclear rank": "nuclear_rank", "key glue scores": "scores", "scores": "scores",
    "speed (steps/s)": "speed", "speed": "speed", "wandb link": "link", "git tag": "code", "git commit": "code",
    "conclusion / takeaway": "conclusion", "conclusion": "conclusion",
}  # fmt: skip
"""Of theirs, in small letters -> column of the notebook. What logs that were kept by hand call effective rank is the
nuclear rank."""
NUMBER = re.compile(r"[^\d/]*?(\d+(?:\.\d+)?)\s*(?:/\s*\d+\s*)?(?:\([^)]*\))?")
"""A text with one number, which may be one of so many."""


def name_runs(storage: Path, template: str) -> None:
    """From now on. ValueError where that is no template."""
    name_of(Trial("", 0, {}, {}, 0.0), "", template)
    (storage / NAMES).parent.mkdir(exist_ok=True)
    upload(atomic_write_text(storage / NAMES, template))


def template_of(storage: Path) -> str:
    """That was set last."""
    fetch(storage / NAMES)
    return (storage / NAMES).read_text() if (storage / NAMES).is_file() else NAMED


def import_table(storage: Path, file: Path, by: str) -> None:
    """Take the rows of the tables in `file` into the record, but those that it has. ValueError with all that is wrong
    with them: then nothing is taken."""
    known = [(event.row, event.cells) for event in _events(storage) if isinstance(event, RowImported)]
    new = [(row, cells) for row, cells in _read(file) if (row, cells) not in known]
    with Ledger(storage / FILE) as ledger:
        for row, cells in new:
            ledger.append(RowImported(at=time.time(), by=by, row=row, cells=cells))


def imported_rows(storage: Path) -> list[NotebookRow]:
    """One a date and name. Of a row that was imported anew with changes, the newest cells, and every conclusion."""
    together, told = dict[tuple[str, str, int], dict[str, str]](), _events(storage)
    for event in told:
        if isinstance(event, RowImported):
            cells = {name: text for name, text in _by_column(event.cells).items() if text}
            before = together.setdefault((cells.get("date", ""), cells.get("run", ""), event.row), {})
            said = dict.fromkeys([*before.get("conclusion", "").split("\n"), *cells.get("conclusion", "").split("\n")])
            before |= {"date": "", "run": "", **cells, "conclusion": "\n".join(filter(None, said))}
    return [_row(cells, storage / FILE, told) for cells in together.values()]


def _row(cells: Mapping[str, str], ledger: Path, told: list[Event]) -> NotebookRow:
    name = cells["run"]
    notes = comments_in(event for event in told if isinstance(event, Commented) and event.trial == name)
    numbers = {column: float(number[1]) for column in ("epochs", "task_loss", "nuclear_rank")
               if (number := NUMBER.fullmatch(cells.get(column, "")))}  # fmt: skip
    conclusion = "\n".join(filter(None, [cells["conclusion"], *notes]))
    return NotebookRow(0.0, {**cells, "state": "imported", "conclusion": conclusion}, ledger, name, numbers)


def _events(storage: Path) -> list[Event]:
    refresh(storage / FILE)
    return events(storage / FILE) if (storage / FILE).exists() else []


def _read(file: Path) -> list[tuple[int, dict[str, str]]]:
    """Every row, with its place among those of the same date and name."""
    headings, faults, seen = list[str](), list[str](), Counter[str]()
    found = list[tuple[int, dict[str, str]]]()
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        parts = [part.strip().replace(r"\|", "|") for part in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        if not parts or not headings:
            headings = parts
        elif not {"date", "run"} <= {HEADINGS.get(heading.lower()) for heading in headings}:
            continue                                                                # some other table
        elif len(parts) != len(headings):
            faults.append(f"{file}, line {number}: {len(parts)} cells, but {len(headings)} headings; write \\| for |")
        elif not all(re.fullmatch(":?-+:?", part) for part in parts):
            cells = dict(zip(headings, parts, strict=True))
            told = _by_column(cells)
            found.append((seen[f"{told['date']} {told['run']}"], cells))
            seen[f"{told['date']} {told['run']}"] += 1
    if not found and not faults:
        faults = [f"{file}: has no table with rows below headings Date and Run (or Run ID / Model Type)"]
    if faults:
        raise ValueError("\n".join(faults))
    return found


def _by_column(cells: Mapping[str, str]) -> dict[str, str]:
    """As plain text. What is no column of ours goes to the conclusion, under its heading."""
    told: dict[str, str] = {}
    for heading, written in cells.items():
        column, text = HEADINGS.get(heading.lower(), "conclusion"), _plain(written)
        if text and heading.lower() not in HEADINGS:
            text = f"{heading}: {text}"
        text += " steps/s" if text and heading.lower().endswith("(steps/s)") else ""
        told[column] = "\n".join(filter(None, [told.get(column), text]))
    return told


def _plain(text: str) -> str:
    """Without marks of Markdown; a dash is nothing."""
    linked = re.sub(r"\[([^\]]*)\]\((https?://[^)\s]+)\)", r"\1: \2", text)
    lines = re.split(r"\s*<br\s*/?>\s*", re.sub(r"\*\*|`", "", linked))
    return "" if re.fullmatch(r"[-–—]*", text) else "\n".join(line.strip() for line in lines)
