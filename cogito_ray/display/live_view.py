"""Shows what a ledger tells while something works: a live table on a terminal and in a notebook, lines elsewhere."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from contextvars import copy_context
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from cogito_ray.display import result_tables
from cogito_ray.display.console import as_html, out
from cogito_ray.display.result_tables import BAR, run_line
from cogito_ray.records.ledger import LedgerFault, Status
from cogito_ray.records.results.trial_ranking import rank
from cogito_ray.records.sweep_record import Record, SharedRecord
from cogito_ray.text.preparation_plan import Progress

REDRAWN_EVERY_S = 1.0
MOST_OF_A_CORE = 0.05
"""Where drawing takes long, it is drawn more seldom."""
CELL_ROWS = 40
"""Trials that a notebook's cell shows while they run."""
HEAD_ROWS = 10
"""Of a terminal, what is not for trials."""
SWEEP_LINE_S, LINE_S = 60.0, 10.0
"""Where nothing can be redrawn: seconds between two lines of a sweep, and of a run or of text that is prepared."""


@dataclass
class Stage:
    """What is being done before the first trial reports."""

    told: Progress | None = None

    def tell(self, told: Progress) -> None:
        """Preparation has come so far."""
        self.told = told

    @property
    def text(self) -> str:
        """How far the preparation of text is, in words."""
        if self.told is None:
            return "starting ..."
        tokens = f", {self.told.tokens:,} tokens" if self.told.tokens else ""
        return f"{self.told.stage} ({self.told.done} of {self.told.total}{tokens})"

    def drawn(self) -> RenderableType:
        """The same with a bar, where there are several tasks."""
        text = Text(self.text, style="dim")
        if self.told is None or self.told.total < 2:
            return text
        return Group(text, ProgressBar(total=self.told.total, completed=self.told.done, width=BAR))


@contextmanager
def watching(record: SharedRecord | None, *, quiet: bool) -> Iterator[Stage]:
    """Show what is recorded: one live table where it can be redrawn, else lines. None: only text is prepared."""
    stage = Stage()
    with _shown(record, stage, quiet=quiet):
        yield stage


def drawn(known: Record, stage: Stage, *, most: int) -> RenderableType:
    """What is shown at a time, with at most so many trials."""
    return result_tables.live(known, time.time(), most=most) if known.trials else stage.drawn()


def _shown(record: SharedRecord | None, stage: Stage, *, quiet: bool) -> AbstractContextManager[object]:
    if quiet:
        return nullcontext()
    if out.is_terminal:
        return _redrawn_on_a_terminal(record, stage)
    return _redrawn_in_a_cell(record, stage) if out.is_jupyter else _beside(_Lines(record, stage).tell)


@contextmanager
def _redrawn_on_a_terminal(record: SharedRecord | None, stage: Stage) -> Iterator[None]:
    with Live(console=out, transient=True, auto_refresh=False) as live:

        def redraw(_: bool) -> None:
            with _now(record) as known:
                live.update(drawn(known, stage, most=max(1, out.height - HEAD_ROWS)), refresh=True)

        with _beside(redraw):
            yield


@contextmanager
def _redrawn_in_a_cell(record: SharedRecord | None, stage: Stage) -> Iterator[None]:
    """By IPython alone: rich's own way needs ipywidgets, in the notebook's server as well."""
    from IPython.display import HTML, display

    cell, before = display(HTML(""), display_id=True), ""

    def redraw(_: bool) -> None:
        nonlocal before
        with _now(record) as known:
            now = as_html(drawn(known, stage, most=CELL_ROWS))
        if now != before:
            cell.update(HTML(before := now))

    with _beside(redraw):
        yield


@contextmanager
def _beside(tell: Callable[[bool], None]) -> Iterator[None]:
    """Told again and again in a thread of its own, and a last time (True) before a fault is: what ended until then is
    not passed over."""
    over, context = threading.Event(), copy_context()    # by which a notebook knows whose output it is
    teller = threading.Thread(target=context.run, args=(_repeat, tell, over), daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def _repeat(tell: Callable[[bool], None], over: threading.Event) -> None:
    pause, last = REDRAWN_EVERY_S, False
    while not last:
        last, began = over.wait(pause), time.thread_time()
        tell(last)
        pause = max(REDRAWN_EVERY_S, (time.thread_time() - began) / MOST_OF_A_CORE)


@contextmanager
def _now(record: SharedRecord | None) -> Iterator[Record]:
    """What is recorded by now; an empty record where nothing is, or nothing that can be read."""
    with ExitStack() as held:
        known = Record()
        with suppress(OSError, LedgerFault):
            known = held.enter_context(record.now()) if record is not None else known
        yield known


class _Lines:
    """What is said line by line: what has ended, at once; how far all is, now and then."""

    def __init__(self, record: SharedRecord | None, stage: Stage):
        """What has ended by now is not told."""
        self._record, self._stage, self._said, self._said_at = record, stage, "", 0.0
        with _now(record) as known:
            self._told = set(_ends(known))
            self._step = max((trial.step for trial in known.trials.values()), default=-1)

    def tell(self, last: bool) -> None:
        """What is new, with the time at which it is told. `last`: nothing will be told after this."""
        with _now(self._record) as known:
            lines = list(self._news(known, last=last))
        for line in lines:
            out.print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}")

    def _news(self, known: Record, *, last: bool) -> Iterator[str]:
        for link in known.shown_at:
            if link not in self._told:
                self._told.add(link)
                yield link
        if not known.trials:
            text, stage = self._stage.text, self._stage.told.stage if self._stage.told else ""
            if text != self._said and (self._is_due(LINE_S) or not stage or not self._said.startswith(stage)):
                self._said = text
                yield text
        elif known.axes:
            for trial, line in _ends(known).items():
                if trial not in self._told:
                    self._told.add(trial)
                    yield line
            if self._is_due(0.0 if last else SWEEP_LINE_S):
                yield "; ".join(result_tables.so_far(known, time.time()))
        else:
            [run] = known.trials.values()
            if run.reports and run.step > self._step and (last or self._is_due(LINE_S)):
                self._step = run.step
                yield run_line(known, time.time())

    def _is_due(self, every_s: float) -> bool:
        if self._said_at and time.monotonic() - self._said_at < every_s:
            return False
        self._said_at = time.monotonic()
        return True


def _ends(known: Record) -> dict[str, str]:
    rows = rank(known).rows if known.openings else ()
    return {row.trial: result_tables.ended(row) for row in rows if row.status is not Status.UNFINISHED}
