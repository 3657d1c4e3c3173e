"""What every command shares: the application, its usual options, and where it prints."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated, cast

import typer

from cogito_ray.display.console import out
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.preflight_checks import Absent, refuse_absent
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.yaml_io.yaml_files import Document

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
def opened(
    file: Path, overrides: Sequence[str] | None = None, storage: Path | None = None
) -> Iterator[SweepSpec | RunSpec]:
    """What a file says. What turns out to be missing of it, now or in the block, is told with its line in the file.

    `storage`: where it may have begun.
    """
    document = Document.read(file, overrides or ())
    try:
        spec = document.either()
        refuse_absent(spec, storage)
        yield spec
    except Absent as fault:
        raise document.refused(fault.faults) from None


@contextmanager
def opened_sweep(file: Path, overrides: Sequence[str] | None, storage: Path) -> Iterator[SweepSpec]:
    """The same; ValueError for a single run."""
    with opened(file, overrides, storage) as spec:
        if isinstance(spec, RunSpec):
            raise ValueError(f"{file} describes a single run; train it: cogito-ray train {file}")
        yield spec


@contextmanager
def opened_run(file: Path, overrides: Sequence[str] | None) -> Iterator[RunSpec]:
    """The same; ValueError for a sweep."""
    with opened(file, overrides) as spec:
        if isinstance(spec, SweepSpec):
            raise ValueError(f"{file} describes a sweep; run it: cogito-ray sweep {file}")
        yield spec
