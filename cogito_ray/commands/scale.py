"""cogito-ray scale: what a sweep's winners will reach at full size."""

import json

import typer

import cogito_ray as cr
from cogito_ray.commands.shared_options import RUNS, AsJson, File, Overrides, Storage, app
from cogito_ray.display.console import out


@app.command(epilog="Example: cogito-ray scale search_spaces/quickstart.yaml")
def scale(file: File, overrides: Overrides = None, storage: Storage = RUNS, as_json: AsJson = False) -> None:
    """Train what is left of a sweep and of its ladder, and tell what its winners will reach at full size."""
    try:
        result = cr.sweep(file, storage=storage, overrides=overrides or (), verbose=not as_json)
    except cr.Interrupted as stopped:
        result = stopped.result
    told = result.forecasts
    if as_json:
        print(json.dumps([one.sealed.model_dump(mode="json") for one in told]))
    for one in told if not as_json else ():
        out.print(one.text, markup=False)
    if not told:
        raise typer.Exit(1)
