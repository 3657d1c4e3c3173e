"""cogito-ray publish: sends a record to a tracker."""

from pathlib import Path
from typing import Annotated

import typer

import cogito_ray as cr
from cogito_ray.commands.shared_options import app, told_as
from cogito_ray.display.console import out


@app.command(epilog="Example: cogito-ray publish runs/quickstart --project concepts")
def publish(
    folder: Annotated[Path, typer.Argument(help="A sweep's or run's folder.", show_default=False)],
    project: Annotated[str, typer.Option(help="Of Weights & Biases.")] = "cogito-ray",
    follow: Annotated[bool, typer.Option(help="Go on until the sweep is complete.")] = False,
) -> None:
    """Send a record to Weights & Biases, also while it grows; what was sent is not sent again."""
    from cogito_ray.records.wandb_tracker import project_name

    with told_as("--project"):
        project_name(project)
    result = cr.publish(folder, project=project, follow=follow)
    out.print(f"{len(result.trials)} trials of {folder} are in project {project}")
