"""A plan's page: its phases as a tree with verdicts."""

from pathlib import Path

from markupsafe import Markup

from cogito_ray.atomic_files import atomic_write_text
from cogito_ray.records.pages.report_page import FILE
from cogito_ray.records.plan_record import lines, read

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{0}</title><style>{1}</style>
<main><h1>{0}</h1><p class=question>{2}</p><pre style="white-space: pre-wrap">{3}</pre></main></html>"""


def write(folder: Path) -> Path:
    """Make `<folder>/report.html` from the plan's ledger there. Raises LedgerFault, or OSError if there is none."""
    return atomic_write_text(folder / FILE, render(folder))


def render(folder: Path) -> str:
    """The same, as HTML."""
    record, style = read(folder), Markup((Path(__file__).parent / "style.css").read_text())
    told = record.spec.get("name"), style, record.spec.get("question"), "\n".join(lines(record))
    return Markup(PAGE).format(*told)
