"""cogito-ray publish: sends a record to a tracker."""

from pathlib import Path
from typing import Annotated, Literal

import typer

import cogito_ray as cr
from cogito_ray.commands.shared_options import app, told_as
from cogito_ray.display.console import out


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
