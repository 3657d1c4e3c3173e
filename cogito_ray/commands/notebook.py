"""cogito-ray notebook and note: every sweep, run and plan in one table, with what people conclude."""

from pathlib import Path
from typing import Annotated

import typer

import cogito_ray as cr
from cogito_ray.commands.shared_options import RUNS, Storage, app
from cogito_ray.display.console import out


@app.command(epilog="Example: cogito-ray notebook --import old_log.md")
def notebook(
    storage: Annotated[list[Path], typer.Option(help="Folder or URL of runs; may be given again.")] = [RUNS],  # noqa: B006
    table: Annotated[
        Path | None, typer.Option("--import", help="Markdown file with a log, whose rows are taken into the record.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What runs are called from now on, such as '{model}_H{width}_{date}'.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Where to write; the storage, or of several this folder.")
    ] = None,
) -> None:
    """Write notebook.md, .html and .parquet: every sweep, run and plan, what came out, and what may be compared."""
    for file in cr.notebook(*storage, table=table, name=name, out=folder):
        out.print(str(file))


@app.command(epilog="Example: cogito-ray note quickstart 'Deletion above 0.7 is too much.'")
def note(
    run: Annotated[str, typer.Argument(help="Its folder, its name, or what a row is called.", show_default=False)],
    text: Annotated[str, typer.Argument(help="What is to be known.", show_default=False)],
    storage: Storage = RUNS,
) -> None:
    """Keep what you conclude of a sweep, run, plan or trial in its ledger, with your name and the time."""
    out.print(f"kept in {cr.note(run, text, storage=storage)}")
