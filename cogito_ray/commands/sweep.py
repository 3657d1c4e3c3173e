"""cogito-ray sweep: runs a sweep, or what is left of it."""

from cogito_ray.commands.app import RUNS, AsJson, File, Storage, app
from cogito_ray.commands.conclusion import conclude
from cogito_ray.commands.watch import watching
from cogito_ray.run import RunSpec
from cogito_ray.sweeps.files import load_either


@app.command(epilog="Example: cogito-ray sweep search_spaces/quickstart.yaml")
def sweep(file: File, storage: Storage = RUNS, as_json: AsJson = False) -> None:
    """Run a sweep, or what is left of it: the same command resumes after any interruption."""
    from cogito_ray.runtime.sweep import home_of, run_sweep

    spec = load_either(file)
    if isinstance(spec, RunSpec):
        raise ValueError(f"{file} describes a single run; train it: cogito-ray train {file}")
    home = home_of(spec, storage)
    known = home.recorded()
    with watching(home.ledger, quiet=as_json) as stage:
        record = run_sweep(spec, storage, stage.tell)
    conclude(record, home.folder, again=known is not None and known.closing == record.closing, as_json=as_json)
