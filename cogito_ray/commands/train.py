"""cogito-ray train: trains one run, or what is left of it."""

from typing import Annotated

import typer

import cogito_ray as cr
from cogito_ray.commands.shared_options import RUNS, AsJson, File, Overrides, Storage, app, told_as


@app.command(epilog="Example: cogito-ray train jobs/debug.yaml workers=2")
def train(
    file: File,
    overrides: Overrides = None,
    name: Annotated[str | None, typer.Option(help="Folder in the storage; the file's name if not given.")] = None,
    storage: Storage = RUNS,
    as_json: AsJson = False,
) -> None:
    """Train one run under Ray Train, or what is left of it, from its newest checkpoint."""
    from cogito_ray.commands.final_summary import conclude
    from cogito_ray.sweeps.experiment_names import folder_name

    with told_as("--name"):
        called = folder_name(file.stem if name is None else name)
    conclude(
        lambda: cr.train(file, storage=storage, name=called, overrides=overrides or (), verbose=not as_json),
        as_json=as_json,
    )
