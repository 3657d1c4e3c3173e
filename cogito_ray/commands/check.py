"""cogito-ray check: validates files and starts nothing."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cogito_ray.commands.app import AsJson, app, err, out
from cogito_ray.files import atomic_write_text
from cogito_ray.run import RunSpec
from cogito_ray.sweeps.files import SweepFault, load_either
from cogito_ray.sweeps.schema import run_schema, sweep_schema


@app.command(epilog="Example: cogito-ray check search_spaces/*.yaml")
def check(
    files: Annotated[list[Path], typer.Argument(help="YAML files of sweeps or runs.", show_default=False)],
    schema: Annotated[
        Path | None, typer.Option(help="Also write JSON Schemas into this folder, for editors that complete YAML.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Validate files: every corner of a sweep's space is tried as a run. Nothing is started."""
    if schema is not None:
        schema.mkdir(parents=True, exist_ok=True)
        for name, content in {"sweep": sweep_schema(), "run": run_schema()}.items():
            atomic_write_text(schema / f"{name}.schema.json", json.dumps(content, indent=1) + "\n")
    verdicts = [_verdict(file) for file in files]
    if as_json:
        print(json.dumps(verdicts))
    else:
        for verdict in verdicts:
            (err if verdict["faults"] else out).print(verdict["text"])
    if any(verdict["faults"] for verdict in verdicts):
        raise typer.Exit(2)


def _verdict(file: Path) -> dict[str, Any]:
    try:
        spec = load_either(file)
    except SweepFault as fault:
        return {"file": str(file), "faults": fault.faults, "text": str(fault)}
    if isinstance(spec, RunSpec):
        facts = {"kind": "run", "digest": spec.digest(), "terms": spec.terms()}
        return {"file": str(file), "faults": [], "text": f"{file}: a sound run ({', '.join(spec.terms())})", **facts}
    corners = sum(1 for _ in spec.corners())
    text = f"{file}: a sound sweep of {spec.budget.trials} trials over {len(spec.space)} axes ({corners} corners tried)"
    counted = {"trials": spec.budget.trials, "corners": corners}
    return {"file": str(file), "faults": [], "text": text, "kind": "sweep", "digest": spec.digest(), **counted}
