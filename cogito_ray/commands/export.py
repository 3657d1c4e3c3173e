"""cogito-ray export: hands a trained encoder to Hugging Face transformers and sentence-transformers."""

from pathlib import Path
from typing import Annotated

import typer

from cogito_ray.commands.app import app
from cogito_ray.display.console import out


@app.command(epilog="Example: cogito-ray export runs/debug build/debug")
def export(
    checkpoint: Annotated[Path, typer.Argument(help="A run's or trial's folder, or a checkpoint.", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="New, empty, or an earlier export; AutoModel's.", show_default=False)],
) -> None:
    """Write a checkpoint as a folder that AutoModel and SentenceTransformer load.

    Import cogito_ray.nn.interop.transformers_model first.
    """
    from cogito_ray.evaluation.checkpoint_loader import TrainedModel
    from cogito_ray.evaluation.export_folder import refuse_foreign

    refuse_foreign(folder)
    trained = TrainedModel.open(checkpoint)
    trained.export(folder)
    out.print(f"{folder}: run {trained.run.digest()} at step {trained.step}")
