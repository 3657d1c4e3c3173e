"""What a command says at its end: the ranked result, where the report lies, what to type next."""

import json
from collections.abc import Callable
from dataclasses import asdict

import typer

from cogito_ray.display import result_tables
from cogito_ray.display.console import out
from cogito_ray.experiment_result import Interrupted, Result
from cogito_ray.records.pages import report_page, winner_file


def conclude(work: Callable[[], Result], *, as_json: bool) -> None:
    """Do the work, and say what came of it; exit 1 if it was interrupted or if nothing came of it."""
    try:
        result = work()
    except Interrupted as stopped:
        result = stopped.result
    summarise(result, as_json=as_json)
    if not result.front or not result.is_complete:
        raise typer.Exit(1)


def summarise(result: Result, *, as_json: bool) -> None:
    """The ranked result, where the report lies, what to type next."""
    record, ranking, page = result.record, result.ranking, result.path / report_page.FILE
    if as_json:
        state, winner = record.closing.cause if record.closing else "failed", ranking.winner
        rows = [asdict(row) for row in ranking.rows]
        told = {"folder": str(result.path), "state": state, "report": str(page), "winner": winner and asdict(winner)}
        best = {"best": [row.number for row in ranking.best], "standing": ranking.standing}
        print(json.dumps(told | best | {"trials": rows}))
        return
    out.print(result_tables.final(record))
    for why, count in report_page.untried(record).items():
        out.print(f"Not tried: {count} x {why}", markup=False)
    out.print(f"Report: {page}\nNext:   {_advice(result)}")


def _advice(result: Result) -> str:
    """What to type next."""
    record, folder = result.record, result.path
    if not record.is_complete:
        return f"{record.closing.cause if record.closing else 'it failed'}; the same command goes on from here"
    if record.axes and len(record.goals) > 1:
        return "open the report, weigh the front's goals, and take the run you prefer from it for cogito-ray train"
    if len(result.ranking.best) > 1:
        return "which of them is best cannot be told: take the cheapest, promote all of them, or raise `seeds`"
    if record.axes:
        return f"cogito-ray train {folder / winner_file.FILE} --name {folder.name}-winner"
    return f"cogito-ray report {folder}"
