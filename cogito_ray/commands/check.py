"""cogito-ray check, init and prepare: what comes before anything is trained."""

import json
from contextlib import ExitStack
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import cogito_ray as cr
from cogito_ray.atomic_files import atomic_write_text
from cogito_ray.commands.shared_options import RUNS, AsJson, File, Overrides, Storage, app
from cogito_ray.display.console import err, out

if TYPE_CHECKING:
    from cogito_ray.experiment_result import Checked
    from cogito_ray.text.prepared_corpus import Corpus


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


RENAMED = {"gitignore": ".gitignore"}
"""Files that have another name in the package, where git would obey them."""


@app.command(epilog="Example: cogito-ray init my-project")
def init(
    folder: Annotated[Path, typer.Argument(help="A folder that is empty, or not there yet.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Write a small commented project: a sweep, a run, what both extend, and a README."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not an empty folder; name one that is empty, or not there yet")
    written = _copied(files("cogito_ray") / "project_template", folder)
    if as_json:
        print(json.dumps({"folder": str(folder), "files": [str(file.relative_to(folder)) for file in written]}))
        return
    for file in written:
        out.print(str(file))
    out.print(f"Next:   cd {folder} && cogito-ray sweep sweep.yaml")


def _copied(source: Traversable, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for entry in sorted(source.iterdir(), key=lambda entry: (entry.is_dir(), entry.name)):
        target = folder / RENAMED.get(entry.name, entry.name)
        if entry.is_dir():
            written += _copied(entry, target)
        else:
            atomic_write_text(target, entry.read_text(encoding="utf-8"))
            written.append(target)
    return written


@app.command(epilog="Example: cogito-ray prepare search_spaces/quickstart.yaml")
def prepare(file: File, overrides: Overrides = None, storage: Storage = RUNS, as_json: AsJson = False) -> None:
    """Tokenise and pack every corpus the file names, once; what stands from before is verified and kept."""
    found = cr.prepare(file, storage=storage, overrides=overrides or (), verbose=not as_json)
    corpora = [_counts(corpus) for corpus in found]
    if as_json:
        print(json.dumps(corpora))
        return
    for number, sources in enumerate(corpora):
        for name, counts in sources.items():
            out.print(f"corpus {number}, {name}: " + ", ".join(f"{value:,} {what}" for what, value in counts.items()))


def _counts(corpus: "Corpus") -> dict[str, dict[str, float]]:
    """Per source, what was made of it."""
    manifests = {source.name: source.shards.manifest for source in corpus.sources}
    return {
        name: {
            "train rows": made.rows("train"),
            "held-out rows": made.rows("held_out"),
            "tokens": sum(made.tokens.values()),
            "tokens per word": round(made.fertility, 2),
            "places of padding": sum(made.padding.values()),
            "cut documents": sum(made.cut_documents.values()),
            "bad documents": made.bad_documents,
            **{f"left out for {reason.replace('_', ' ')}": documents for reason, documents in made.removed.items()},
            **{f"with texts of {name}": documents for name, documents in made.overlaps.items()},
        }
        for name, made in manifests.items()
    }
