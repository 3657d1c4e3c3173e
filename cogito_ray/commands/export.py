"""cogito-ray export: hands a trained encoder to Hugging Face transformers and sentence-transformers."""

from pathlib import Path
from typing import Annotated

import typer

import cogito_ray as cr
from cogito_ray.commands.shared_options import Checkpoint, app


@app.command(epilog="Example: cogito-ray export runs/quickstart build/encoder")
def export(
    checkpoint: Annotated[Path, Checkpoint],
    folder: Annotated[Path, typer.Argument(help="New, empty, or an earlier export; AutoModel's.", show_default=False)],
) -> None:
    """Write a checkpoint as a folder that AutoModel and SentenceTransformer load.

    With trust_remote_code=True they do so where cogito-ray is not installed, too.
    """
    cr.export(checkpoint, folder)
