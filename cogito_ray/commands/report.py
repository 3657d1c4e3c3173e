"""cogito-ray report, notebook, note and publish: what is told of records, and where."""

from pathlib import Path
from typing import Annotated, Literal

import typer

import cogito_ray as cr
from cogito_ray.commands.shared_options import RUNS, Storage, app, told_as
from cogito_ray.display.console import out


@app.command(epilog="Example: cogito-ray report runs/quickstart")
def report(folder: Annotated[Path, typer.Argument(help="A sweep's folder.", show_default=False)]) -> None:
    """Write report.html from a sweep's ledger; works while the sweep runs, too."""
    out.print(str(cr.report(folder)))


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


@app.command(epilog="Example: cogito-ray publish runs/quickstart --project concepts")
def publish(
    folder: Annotated[Path, typer.Argument(help="A sweep's or run's folder.", show_default=False)],
    to: Annotated[Literal["wandb", "mlflow", "tensorboard"], typer.Option(help="The tracker.")] = "wandb",
    project: Annotated[str, typer.Option(help="Of Weights & Biases, or MLflow's experiment.")] = "cogito-ray",
    follow: Annotated[bool, typer.Option(help="Go on until the sweep is over.")] = False,
) -> None:
    """Send a record to a tracker, also while it grows; what was sent is not sent again."""
    from cogito_ray.records.tracking.trackers import project_name

    with told_as("--project"):
        project_name(project)
    result = cr.publish(folder, to=to, project=project, follow=follow)
    out.print(f"{len(result.trials)} trials of {folder} are in project {project}")
