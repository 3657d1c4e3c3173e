"""cogito-ray init: a small project to start from."""

import json
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer

from cogito_ray.atomic_files import atomic_write_text
from cogito_ray.commands.shared_options import AsJson, app
from cogito_ray.display.console import out

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
