"""Shows what a ledger tells while something works: a live table on a terminal and in a notebook, lines elsewhere."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import copy_context
from dataclasses import dataclass

from rich.console import RenderableType
from rich.live import Live

from cogito_ray.display import result_tables
from cogito_ray.display.console import as_html, out
from cogito_ray.records.ledger import LedgerFault, Status
from cogito_ray.records.results.trial_ranking import rank
from cogito_ray.records.sweep_record import Record, SharedRecord
from cogito_ray.text.preparation_plan import Progress

REDRAWN_EVERY_S = 1.0


@dataclass
class Stage:
    """What is being done before the first trial reports."""

    text: str = "starting ..."

    def tell(self, told: Progress) -> None:
        """Preparation has come so far."""
        self.text = stage_of(told)


def stage_of(told: Progress) -> str:
    """How far the preparation of text is, in words."""
    tokens = f", {told.tokens:,} tokens" if told.tokens else ""
    return f"{told.stage} ({told.done} of {told.total}{tokens})"


@contextmanager
def watching(record: SharedRecord, *, quiet: bool) -> Iterator[Stage]:
    """Show what is recorded: one live table where it can be redrawn, else one line per ended trial."""
    stage = Stage()
    with _shown(record, stage, quiet=quiet):
        yield stage


def _shown(record: SharedRecord, stage: Stage, *, quiet: bool) -> AbstractContextManager[object]:
    if quiet:
        return nullcontext()
    if out.is_terminal:
        return Live(get_renderable=lambda: _table(record, stage), console=out, transient=True)
    return _redrawn_in_a_cell(record, stage) if out.is_jupyter else _lines(record, stage)


@contextmanager
def _redrawn_in_a_cell(record: SharedRecord, stage: Stage) -> Iterator[None]:
    """By IPython alone: rich's own way needs ipywidgets, in the notebook's server as well."""
    from IPython.display import HTML, display

    over, cell = threading.Event(), display(HTML(""), display_id=True)

    def redraw() -> None:
        drawn = ""
        while True:
            last = over.wait(REDRAWN_EVERY_S)
            if (now := as_html(_table(record, stage))) != drawn:
                cell.update(HTML(drawn := now))
            if last:
                return

    with _beside(redraw, over):
        yield


@contextmanager
def _lines(record: SharedRecord, stage: Stage) -> Iterator[None]:
    over, known = threading.Event(), set(_ends(record))  # before anything is done that is to be told
    with _beside(lambda: _tell_ends(record, stage, over, known), over):
        yield


@contextmanager
def _beside(tell: Callable[[], None], over: threading.Event) -> Iterator[None]:
    """In a thread of its own, until `over`; also before a fault is told: what ended until then is not passed over."""
    context = copy_context()    # by which a notebook knows whose output it is
    teller = threading.Thread(target=context.run, args=(tell,), daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def _tell_ends(record: SharedRecord, stage: Stage, over: threading.Event, told: set[str]) -> None:
    said = ""
    while True:
        last = over.wait(REDRAWN_EVERY_S)
        ends = _ends(record)
        if stage.text != said and not ends:
            out.print(said := stage.text)
        for trial, line in ends.items():
            if trial not in told:
                told.add(trial)
                out.print(line)
        if last:
            return


def _table(record: SharedRecord, stage: Stage) -> RenderableType:
    with suppress(OSError, LedgerFault), record.now() as known:
        return result_tables.live(known, stage.text)
    return result_tables.live(Record(), stage.text)


def _ends(record: SharedRecord) -> dict[str, str]:
    with suppress(OSError, LedgerFault), record.now() as known:
        rows = rank(known).rows if known.openings else ()
        return {row.trial: result_tables.ended(row) for row in rows if row.status is not Status.UNFINISHED}
    return {}
