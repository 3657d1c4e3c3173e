"""Shows what a ledger tells while a command works: one live table on a terminal, a line per ended trial elsewhere."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.live import Live

from cogito_ray.commands.app import out, stage_of
from cogito_ray.display import tables
from cogito_ray.records.ledger import LedgerFault, Status
from cogito_ray.records.results.trial_ranking import rank
from cogito_ray.records.sweep_record import Record, read
from cogito_ray.text.preparation import Progress


@dataclass
class Stage:
    """What a command is doing before its first trial reports."""

    text: str = "starting ..."

    def tell(self, told: Progress) -> None:
        self.text = stage_of(told)


@contextmanager
def watching(ledger: Path, *, quiet: bool) -> Iterator[Stage]:
    """Show what the ledger tells: one live table on a terminal, one line per ended trial elsewhere."""
    stage = Stage()
    if quiet:
        yield stage
    elif out.is_terminal:
        with Live(get_renderable=lambda: tables.live(_known(ledger), stage.text), console=out, transient=True):
            yield stage
    else:
        over, known = threading.Event(), set(_ends(_known(ledger)))  # before anything is done that is to be told
        teller = threading.Thread(target=_tell_ends, args=(ledger, stage, over, known), daemon=True)
        teller.start()
        try:
            yield stage
        finally:  # also before a fault is told: what ended until then is not passed over
            over.set()
            teller.join()


def _tell_ends(ledger: Path, stage: Stage, over: threading.Event, told: set[str]) -> None:
    said = ""
    while True:
        last = over.wait(1.0)
        ends = _ends(_known(ledger))
        if stage.text != said and not ends:
            out.print(said := stage.text)
        for trial, line in ends.items():
            if trial not in told:
                told.add(trial)
                out.print(line)
        if last:
            return


def _ends(record: Record | None) -> dict[str, str]:
    if record is None:
        return {}
    ranking = rank(record)
    return {row.trial: tables.ended(row) for row in ranking.rows if row.status is not Status.UNFINISHED}


def _known(ledger: Path) -> Record | None:
    """The record so far; None while there is none that can be read."""
    try:
        return read(ledger)
    except (OSError, LedgerFault):
        return None
