"""What a terminal shows of a run on its own: how far it is, what it measured last, its checkpoint, its guards."""

import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cogito_ray.records.ledger import CHECKPOINTS
from cogito_ray.records.results.trial_ranking import UNIGRAM, figures
from cogito_ray.records.sweep_progress import progress
from cogito_ray.records.sweep_record import Record, Trial
from cogito_ray.sweeps.budget_spec import duration
from cogito_ray.sweeps.space.dotted_paths import get

BAR = 40
"""Columns of a bar."""
NOTES = 3
"""Of what happened, so many of the last are shown."""
SHARES = "_gradient_share"


def run_table(record: Record, now: float | None = None) -> RenderableType:
    """All of it. `now`: seconds since 1970, while the run is under way."""
    run = next(iter(record.trials.values()))
    head = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=run.steps or 1, completed=run.step, width=BAR)
    head.add_row(Text(where(run), style="bold"), bar, Text(_time(record, now)))
    measured = Table.grid(padding=(0, 2))
    for name, said in _measured(run):
        measured.add_row(Text(name, style="dim"), Text(said))
    folder = Path(record.path).parent
    measured.add_row(Text("checkpoint", style="dim"), Text(_checkpoint(folder, now)))
    measured.add_row(Text("guards", style="dim"), Text(_guards(run)))
    for link in record.shown_at:
        measured.add_row("", Text(link, style="dim"))
    return Group(head, measured, *(Text(note, style="yellow") for note in run.notes[-NOTES:]))


def run_line(record: Record, now: float | None = None) -> str:
    """The same in a line, where nothing can be redrawn."""
    run = next(iter(record.trials.values()))
    return "; ".join([where(run), _time(record, now), *(said for _, said in _measured(run))])


def where(run: Trial) -> str:
    """At which step, and how it ended if it did."""
    over = "" if run.end is None else f"{run.status}: {run.cause}, " if run.cause else f"{run.status}, "
    return f"{over}step {run.step} of {run.steps}"


def _time(record: Record, now: float | None) -> str:
    far = progress(record, now)
    left = "" if not far.left_s else f", about {duration(far.left_s)} left"
    return f"{duration(far.elapsed_s)} elapsed{left}"


def _measured(run: Trial) -> Iterator[tuple[str, str]]:
    """What the last report says, by what it is about."""
    told = run.known
    losses = {name: value for name, value in told.items() if name.startswith("loss/") and not name.endswith(SHARES)}
    if losses:
        yield "loss", ", ".join(f"{name.removeprefix('loss/')} {figures(value)}" for name, value in losses.items())
    evaluated = {name: value for name, value in told.items() if name.startswith("eval/") and name != UNIGRAM}
    if evaluated:
        constant = f" (the best constant prediction: {figures(told[UNIGRAM])})" if UNIGRAM in told else ""
        name, value = next(iter(evaluated.items()))
        yield "held out", f"{name} {figures(value)}{constant}"
    if "optimizer/gradient_norm" in told:
        rate = f", learning rate {told.get('optimizer/learning_rate', 0.0):.3g}"
        yield "optimizer", f"gradient norm {figures(told['optimizer/gradient_norm'])}{rate}"
    if "time/tokens_per_s" in told:
        shares = f"MFU {told.get('time/mfu', 0.0):.1%}, waiting for data {told.get('time/data_wait_share', 0.0):.1%}"
        yield "speed", f"{told['time/tokens_per_s']:,.0f} tokens/s, {shares}"


def _checkpoint(folder: Path, now: float | None) -> str:
    newest = max(folder.glob(f"{CHECKPOINTS}/step-*"), default=None)
    if newest is None:
        return "none yet"
    ago = duration((now or time.time()) - newest.stat().st_mtime)
    return f"step {int(newest.name.removeprefix('step-'))}, {ago} ago"


def _guards(run: Trial) -> str:
    named = get(run.spec, "training.guards")
    on = [name for name, settings in named.items() if settings is not None] if isinstance(named, dict) else []
    return ", ".join(on) or "all switched off"
