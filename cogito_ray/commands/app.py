"""What every command shares: the application, its usual options, and where it prints."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cogito_ray.run import RunSpec
from cogito_ray.sweeps.files import load_either
from cogito_ray.sweeps.spec import SweepSpec
from cogito_ray.text.prepare import Progress

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Sweeps and pretraining of concept encoders on Ray.\n\n"
    "Start with: [bold]cogito-ray sweep search_spaces/quickstart.yaml[/bold]",
)
File = Annotated[Path, typer.Argument(help="YAML of a sweep or of a run.", show_default=False)]
Storage = Annotated[Path, typer.Option(help="Folder for everything that is written: token shards, trials, records.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
RUNS = Path("runs")
PIPED = None if sys.stdout.isatty() else 160
"""Columns where no terminal says how many it has."""
out, err = (
    Console(stderr=where, markup=False, emoji=False, highlight=False, soft_wrap=True, width=PIPED)
    for where in (False, True)
)
"""Show everything as it is: names may hold brackets."""


def sweep_in(file: Path) -> SweepSpec:
    """The sweep that a file says; ValueError for a single run."""
    spec = load_either(file)
    if isinstance(spec, RunSpec):
        raise ValueError(f"{file} describes a single run; train it: cogito-ray train {file}")
    return spec


def stage_of(told: Progress) -> str:
    """How far the preparation of text is, in words."""
    tokens = f", {told.tokens:,} tokens" if told.tokens else ""
    return f"{told.stage} ({told.done} of {told.total}{tokens})"
