"""cogito-ray publish: sends a record to a tracker."""

import re
import time
from pathlib import Path
from typing import Annotated

import typer

from cogito_ray.commands.app import app
from cogito_ray.display.console import out

POLL_S = 10.0
PROJECT = re.compile(r"[^/\\#?%:\x00-\x1f]{1,128}")


@app.command(epilog="Example: cogito-ray publish runs/quickstart --project concepts")
def publish(
    folder: Annotated[Path, typer.Argument(help="A sweep's or run's folder.", show_default=False)],
    project: Annotated[str, typer.Option(help="Of Weights & Biases.")] = "cogito-ray",
    follow: Annotated[bool, typer.Option(help="Go on until the sweep is complete.")] = False,
) -> None:
    """Send a record to Weights & Biases, also while it grows; what was sent is not sent again."""
    from cogito_ray.records import wandb_tracker

    if not PROJECT.fullmatch(project):
        raise ValueError("--project: a project of Weights & Biases has 1 to 128 characters, and none of / \\ # ? % :")
    publisher = wandb_tracker.Publisher(folder, project)
    record = publisher.publish()
    while follow and not record.is_complete:
        time.sleep(POLL_S)
        record = publisher.publish()
    out.print(f"{len(record.trials)} trials of {folder} are in project {project}")
