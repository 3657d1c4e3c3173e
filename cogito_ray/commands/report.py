"""cogito-ray report, certify, notebook, note and publish: what is told of records, and where."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

import cogito_ray as cr
from cogito_ray.commands.shared_options import RUNS, AsJson, Storage, app, numbers, told_as
from cogito_ray.display.console import out


@app.command(epilog="Example: cogito-ray report runs/quickstart")
def report(folder: Annotated[Path, typer.Argument(help="A sweep's folder.", show_default=False)]) -> None:
    """Write report.html from a sweep's ledger; works while the sweep runs, too."""
    out.print(str(cr.report(folder)))


@app.command(epilog="Example: cogito-ray certify runs/meaning eval/stsb_spearman_mean --steps 60,240")
def certify(
    folder: Annotated[Path, typer.Argument(help="A sweep's folder.", show_default=False)],
    target: Annotated[str, typer.Argument(help="The metric that trials should be told apart by.", show_default=False)],
    measures: Annotated[str | None, typer.Option(help="Metrics that may stand in for it, with commas; all.")] = None,
    steps: Annotated[str | None, typer.Option(help="Where they are read, with commas; the rungs and the last.")] = None,
    until: Annotated[int | None, typer.Option(help="Where the target is read; at the same step.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell which measures, of those without labels for instance, foretell a metric over the trials of a sweep."""
    named = measures.split(",") if measures else []
    found = cr.certify(folder, target, measures=named, steps=numbers(steps, "--steps"), until=until)
    if as_json:
        print(json.dumps([asdict(look) for look in found]))
        return
    table = Table("step", "measure", "trials", "tau", "low", "high", "regret", "of", "verdict")
    for look in found:
        one = look.found
        told = ["" if value is None else f"{value:.3f}" for value in (one.tau, one.low, one.high, one.regret, one.span)]
        table.add_row(str(look.step), look.measure, str(one.trials), *told, "weak" if one.weak else "sound")
    out.print(table)


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
