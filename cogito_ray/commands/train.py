"""cogito-ray train: trains one run, or what is left of it."""

from typing import Annotated

import typer

from cogito_ray.commands.app import RUNS, AsJson, File, Storage, app, out
from cogito_ray.commands.conclusion import conclude
from cogito_ray.commands.watch import watching
from cogito_ray.run import RunSpec
from cogito_ray.sweeps.files import load_either
from cogito_ray.sweeps.spec import SweepSpec


@app.command(epilog="Example: cogito-ray train jobs/debug.yaml --workers 2")
def train(
    file: File,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that share each batch.")] = None,
    name: Annotated[str | None, typer.Option(help="Folder in the storage; the file's name if not given.")] = None,
    storage: Storage = RUNS,
    as_json: AsJson = False,
) -> None:
    """Train one run under Ray Train, or what is left of it, from its newest checkpoint."""
    from cogito_ray.runtime.pretrain import home_of, pretrain

    spec = load_either(file)
    if isinstance(spec, SweepSpec):
        raise ValueError(f"{file} describes a sweep; run it: cogito-ray sweep {file}")
    run = RunSpec.model_validate(spec.model_dump() | ({"workers": workers} if workers else {}))
    home = home_of(run, name or file.stem, storage)
    known = home.recorded()
    with watching(home.ledger, quiet=as_json) as stage:
        record = pretrain(run, name or file.stem, storage, stage.tell)
    if not as_json:
        for note in (note for trial in record.trials.values() for note in trial.notes):
            out.print(note)
    conclude(record, home.folder, again=known is not None and known.closing == record.closing, as_json=as_json)
