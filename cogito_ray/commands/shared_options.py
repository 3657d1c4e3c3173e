"""What every command shares: the application, its usual options, and where it prints."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated, cast

import typer

from cogito_ray.display.console import out

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Sweeps and pretraining of concept encoders on Ray.\n\n"
    "Start with: [bold]cogito-ray sweep search_spaces/quickstart.yaml[/bold]",
)
UsageError = cast(type[typer.BadParameter], typer.BadParameter.__mro__[1])
"""What a command line is refused with: typer gives it no name of its own."""
File = Annotated[Path, typer.Argument(help="YAML of a sweep or of a run.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH=VALUE",
        help="Settings to change, checked as if the file said so: training.steps=50 of a run, run.training.steps=50 of "
        "a sweep. Values are YAML.",
        show_default=False,
    ),
]
Storage = Annotated[Path, typer.Option(help="Folder for everything that is written: token shards, trials, records.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Checkpoint = typer.Argument(
    help="A run's or trial's folder, or a checkpoint; of a sweep's folder, its winner.", show_default=False
)
RUNS = Path("runs")


def _tell_version(asked: bool) -> None:
    if asked:
        out.print(f"cogito-ray {version_of('cogito-ray')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    pass


@contextmanager
def told_as(option: str) -> Iterator[None]:
    """What is wrong in the block is told as that of this option."""
    try:
        yield
    except ValueError as fault:
        raise ValueError(f"{option}: {fault}") from None


def numbers(given: str | None, option: str) -> list[int]:
    """Of an option that lists them. ValueError where they are none, or below 1."""
    counts = given.split(",") if given else []
    if wrong := [count for count in counts if not count.strip().isdecimal() or int(count) < 1]:
        raise ValueError(f"{option} wants numbers of 1 or more, separated by commas; got {wrong[0]!r}")
    return [int(count) for count in counts]
