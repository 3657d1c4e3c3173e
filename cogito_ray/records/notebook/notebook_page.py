"""The notebook of some storages as notebook.md, notebook.html and notebook.parquet, newest rows first."""

import html
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from cogito_ray.atomic_files import atomic_write, atomic_write_text
from cogito_ray.records.notebook.imported_table import imported_rows, template_of
from cogito_ray.records.notebook.notebook_rows import NUMBERS, NotebookRow, records_of, rows_of
from cogito_ray.records.pages.page_templates import environment
from cogito_ray.records.pages.report_page import FILE as REPORT
from cogito_ray.records.results.forecast_calibration import calibration
from cogito_ray.records.sweep_record import Record

FILES = ("notebook.md", "notebook.html", "notebook.parquet")
COLUMNS = {
    "date": "Date", "run": "Run", "state": "State", "architecture": "Architecture", "parameters": "Parameters",
    "data": "Data, tokens read", "machine": "Machine", "epochs": "Epochs", "objective": "Objective",
    "losses": "Concept losses, weighting", "task_loss": "Task loss", "effective_rank": "Effective rank of a text",
    "nuclear_rank": "Nuclear rank (“Eff. Rank” of older logs)", "scores": "Scores (95 % interval)",
    "speed": "Speed, MFU", "link": "Trackers", "code": "Git", "forecast": "Forecast, error", "question": "Question",
    "conclusion": "Conclusion", "alike": "Measured alike",
}  # fmt: skip
"""Headings by name."""
OPENING = (
    "Written by `cogito-ray notebook` from ledgers, newest first: what is changed here is lost, and `cogito-ray note` "
    "keeps a conclusion. Numbers of two rows may be compared only where the last column has the same number."
)


def write(storages: Sequence[Path], folder: Path) -> list[Path]:
    """Make the files in `folder` anew from all that these storages hold."""
    from pyarrow import Table, parquet

    rows, opening = read(storages)
    columns = {name: heading for name, heading in COLUMNS.items() if any(row.cells.get(name) for row in rows)}
    shown, files = [_lines(row, folder) for row in rows], [folder / name for name in FILES]
    body = [[_cell(lines.get(name, [])) for name in columns] for lines in shown]
    lines = [f"| {' | '.join(cells)} |" for cells in [[*columns.values()], ["---"] * len(columns), *body]]
    atomic_write_text(files[0], "\n".join(["# Lab notebook", "", opening, "", *lines, ""]))
    page = environment().get_template("notebook.html")
    atomic_write_text(files[1], page.render(opening=opening.replace("`", ""), columns=columns, rows=shown))
    texts = {name: [row.cells.get(name) for row in rows] for name in COLUMNS}
    numbers = {f"{name}_number": [row.numbers.get(name) for row in rows] for name in NUMBERS}
    with atomic_write(files[2]) as stream:
        parquet.write_table(Table.from_pydict({**texts, **numbers}), stream)
    return files


def read(storages: Sequence[Path]) -> tuple[list[NotebookRow], str]:
    """Every row, newest first, and what is to be known of all of them."""
    rows, known = list[NotebookRow](), list[Record | NotebookRow]()
    for storage in storages:
        known += (found := list(records_of(storage)))
        rows += [*rows_of(found, template_of(storage)), *imported_rows(storage)]
    rows.sort(key=lambda row: (row.cells["date"], row.at), reverse=True)
    counts = Counter(row.yardstick for row in rows if row.yardstick)
    alike = [yardstick for yardstick, count in counts.items() if count > 1]
    for place, row in enumerate(rows):
        if row.yardstick in alike:
            rows[place] = replace(row, cells={**row.cells, "alike": str(alike.index(row.yardstick) + 1)})
    fared = calibration(one for one in known if isinstance(one, Record))
    return rows, f"{OPENING} {fared.text}." if fared else OPENING


def escaped(text: str) -> str:
    """What a user wrote, on one line, as a table of Markdown shows it, and meaning nothing else."""
    line = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*\[\]|~$]|(?<!\w)_|_(?!\w))", r"\\\1", line)


def _lines(row: NotebookRow, folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Of every cell, each with where it links to, if it does."""
    report = row.ledger.with_name(REPORT)
    there = quote(os.path.relpath(report, folder)) if report.is_file() else ""
    cells = {name: [(line, "") for line in text.split("\n") if line] for name, text in row.cells.items()}
    links = [(line, re.fullmatch(r"(?:(.*): )?(https?://\S+)", line)) for line, _ in cells.get("link", ())]
    linked = [(found[1] or found[2], found[2]) if found else (line, "") for line, found in links]
    return {**cells, "run": [(row.cells["run"], there)], "link": linked}


def _cell(lines: Sequence[tuple[str, str]]) -> str:
    safe = "/:?#@!&=+,;%~"
    return "<br>".join(f"[{escaped(text)}]({quote(url, safe)})" if url else escaped(text) for text, url in lines)
