"""cogito-ray check: validates files and starts nothing."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import cogito_ray as cr
from cogito_ray.commands.shared_options import AsJson, app
from cogito_ray.display.console import err, out

if TYPE_CHECKING:
    from cogito_ray.experiment_result import Checked


@app.command(epilog="Example: cogito-ray check search_spaces/*.yaml")
def check(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE... [PATH=VALUE]...",
            help="YAML files of sweeps or runs, then settings to change in all of them.",
            show_default=False,
        ),
    ],
    schema: Annotated[
        Path | None, typer.Option(help="Also write JSON Schemas into this folder, for editors that complete YAML.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Validate files: the points of a sweep's space are tried as runs, of a large one corners and others. Nothing is
    started."""
    if schema is not None:
        schema.mkdir(parents=True, exist_ok=True)
    overrides = [given for given in files if "=" in given and not Path(given).exists()]
    verdicts = [
        _judged(file, [f"{file}: cogito-ray itself failed, as the traceback says"])
        for file in files
        if file not in overrides
    ]
    with ExitStack() as each:  # where one raises what nobody foresaw, the others are judged and told nevertheless
        if as_json:
            each.callback(lambda: print(json.dumps(verdicts)))
        for verdict in reversed(verdicts):
            each.callback(_judge, verdict, overrides, quiet=as_json)
    if schema is not None:  # with the kinds of their plugins
        _write_schemas(schema)
    if any(verdict["faults"] for verdict in verdicts):
        raise typer.Exit(2)


def _write_schemas(folder: Path) -> None:
    from cogito_ray.atomic_files import atomic_write_text
    from cogito_ray.sweeps.yaml_io.json_schema import run_schema, sweep_schema

    for name, content in {"sweep": sweep_schema(), "run": run_schema()}.items():
        atomic_write_text(folder / f"{name}.schema.json", json.dumps(content, indent=1) + "\n")


def _judge(verdict: dict[str, Any], overrides: list[str], *, quiet: bool) -> None:
    """Fill in what the file turns out to be."""
    from cogito_ray.sweeps.space.validation_messages import SweepFault

    try:
        checked = cr.check(verdict["file"], overrides=overrides)
        verdict |= {"faults": [], "text": str(checked), **_facts(checked)}
    except SweepFault as fault:
        verdict |= {"faults": fault.faults, "text": str(fault)}
    if not quiet:
        (err if verdict["faults"] else out).print(verdict["text"])


def _judged(file: str, faults: list[str]) -> dict[str, Any]:
    return {"file": file, "faults": faults, "text": "\n".join(faults)}


def _facts(checked: "Checked") -> dict[str, Any]:
    from cogito_ray.run_spec import RunSpec

    spec = checked.spec
    if isinstance(spec, RunSpec):
        return {"kind": "run", "digest": spec.digest(), "terms": spec.terms()}
    return {"kind": "sweep", "digest": spec.digest(), "trials": spec.budget.trials, "notes": checked.notes}
