"""cogito-ray export and push: hand a trained encoder to transformers, sentence-transformers and the Hub."""

from pathlib import Path
from typing import Annotated

import typer

import cogito_ray as cr
from cogito_ray.commands.shared_options import Checkpoint, app
from cogito_ray.display.console import out

License = Annotated[str | None, typer.Option(help="Of the weights, as the Hub names it; the card says so.")]


@app.command(epilog="Example: cogito-ray export runs/quickstart build/encoder")
def export(
    checkpoint: Annotated[Path, Checkpoint],
    folder: Annotated[Path, typer.Argument(help="New, empty, or an earlier export; AutoModel's.", show_default=False)],
    license: License = None,
) -> None:
    """Write a checkpoint as a folder that AutoModel and SentenceTransformer load.

    With trust_remote_code=True they do so where cogito-ray is not installed, too.
    """
    cr.export(checkpoint, folder, license=license)


@app.command(epilog="Example: cogito-ray push runs/quickstart my-name/concept-encoder --license apache-2.0")
def push(
    checkpoint: Annotated[Path, Checkpoint],
    repo: Annotated[str, typer.Argument(help="Repository on the Hub, owner/name.", show_default=False)],
    license: License = None,
    public: Annotated[bool, typer.Option(help="A new repository is private otherwise.")] = False,
) -> None:
    """Export a checkpoint to the Hugging Face Hub, with the token in HF_TOKEN."""
    out.print(cr.push(checkpoint, repo, public=public, license=license))
