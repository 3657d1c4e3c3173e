"""cogito-ray train: trains one run, or what is left of it."""

from pathlib import Path
from typing import Annotated

import typer

from cogito_ray.commands.app import RUNS, AsJson, File, Overrides, Storage, app, opened_run
from cogito_ray.commands.terminal.summary import conclude
from cogito_ray.display.console import err, out
from cogito_ray.display.live_view import watching
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.experiment_names import folder_name


@app.command(epilog="Example: cogito-ray train jobs/debug.yaml --workers 2")
def train(
    file: File,
    overrides: Overrides = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that share each batch.")] = None,
    name: Annotated[str | None, typer.Option(help="Folder in the storage; the file's name if not given.")] = None,
    storage: Storage = RUNS,
    as_json: AsJson = False,
) -> None:
    """Train one run under Ray Train, or what is left of it, from its newest checkpoint."""
    from cogito_ray.runtime.experiment_folder import Home
    from cogito_ray.runtime.train.pretraining_driver import pretrain

    called = _name(name, file)
    with opened_run(file, overrides) as spec:
        run = RunSpec.model_validate(spec.model_dump() | ({"workers": workers} if workers else {}))
        home = Home.of_run(run, called, storage)
        known = home.recorded()
        if known is not None and not known.is_complete and (said := home.other_code(known)):
            err.print(said)
        before = known.closing if known else None
        with watching(home.record, quiet=as_json) as stage:
            record = pretrain(run, called, storage, stage.tell, home=home)
    if not as_json:
        for note in (note for trial in record.trials.values() for note in trial.notes):
            out.print(note)
    conclude(record, storage / called, again=before is not None and before == record.closing, as_json=as_json)


def _name(given: str | None, file: Path) -> str:
    """Of the run's folder."""
    try:
        return folder_name(file.stem if given is None else given)
    except ValueError as fault:
        raise ValueError(f"--name: {fault}") from None
