"""What a command says at its end: the ranked result, where the report lies, what to type next."""

import json
from dataclasses import asdict
from pathlib import Path

import typer

from cogito_ray.atomic_files import atomic_write_text, explain_os_error
from cogito_ray.display import tables
from cogito_ray.display.console import err, out
from cogito_ray.records.results.trial_ranking import Row, figures, rank
from cogito_ray.records.sweep_record import Record
from cogito_ray.sweeps.yaml_io.yaml_writer import dump

WINNER = "winner.yaml"
"""The winner's run, in its sweep's folder: a file for `cogito-ray train`."""


def conclude(record: Record, folder: Path, *, again: bool, as_json: bool) -> None:
    """The ranked result, where the report lies, what to type next; exit 1 if interrupted or if nothing came of it."""
    from cogito_ray.records.pages import notebook
    from cogito_ray.records.pages.report import untried, write

    page, ranking = write(folder), rank(record)
    try:
        notebook.write(folder.parent)
    except OSError as fault:  # all users of a storage share this page: what was done here is none the worse
        err.print(f"the notebook was not written: {explain_os_error(fault)}")
    winner = ranking.winner
    if winner is not None:
        atomic_write_text(folder / WINNER, _introduced(winner, record) + dump(record.trials[winner.trial].spec))
    else:
        (folder / WINNER).unlink(missing_ok=True)  # of before there were others that cannot be told from it
    if as_json:
        state = record.closing.cause if record.closing else "failed"
        rows = [asdict(row) for row in ranking.rows]
        told = {"folder": str(folder), "state": state, "report": str(page), "winner": winner and asdict(winner)}
        best = {"best": [row.number for row in ranking.best], "standing": ranking.standing}
        print(json.dumps(told | best | {"trials": rows}))
    else:
        if again:
            out.print(f"{folder} is complete: nothing was left to do.")
        out.print(tables.final(record))
        for why, count in untried(record).items():
            out.print(f"Not tried: {count} x {why}", markup=False)
        out.print(f"Report: {page}\nNext:   {_advice(record, folder)}")
    if not ranking.best or not record.is_complete:
        raise typer.Exit(1)


def _introduced(winner: Row, record: Record) -> str:
    """Comments that say whose run it is, and how sure that is."""
    name = " ".join(str(record.opened.spec.get("name", "")).split())
    lines = [f"trial {winner.number} of {name}: " + ", ".join(f"{m} {figures(v)}" for m, v in winner.values.items())]
    if winner.further:
        lines.append(f"{winner.further[0]} of {winner.further[1]} further runs with other seeds ended in order")
    return "".join(f"# {line}\n" for line in [*lines, *filter(None, [" ".join(winner.note.split())])])


def _advice(record: Record, folder: Path) -> str:
    """What to type next."""
    if not record.is_complete:
        return f"{record.closing.cause if record.closing else 'it failed'}; the same command goes on from here"
    if record.axes and len(record.goals) > 1:
        return "open the report, weigh the front's goals, and take the run you prefer from it for cogito-ray train"
    if len(rank(record).best) > 1:
        return "which of them is best cannot be told: take the cheapest, promote all of them, or raise `seeds`"
    if record.axes:
        return f"cogito-ray train {folder / WINNER} --name {folder.name}-winner"
    return f"cogito-ray report {folder}"
