"""What goes to a cluster with a job: one file of settings with all that it extends, plugins, and this package."""

import copy
import hashlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import JsonValue

from cogito_ray.plugins import load
from cogito_ray.sweeps.space.dotted_paths import Tree
from cogito_ray.sweeps.yaml_io.yaml_loader import Document
from cogito_ray.sweeps.yaml_io.yaml_writer import dump

PACKAGE = Path(__file__).parents[2]
COMPILED = shutil.ignore_patterns("__pycache__")


@dataclass(frozen=True)
class JobFiles:
    """A folder that becomes the working directory of a job. `digest`: of the settings, which tells two jobs apart."""

    folder: Path
    digest: str

    def __str__(self) -> str:
        size = sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())
        return f"{', '.join(sorted(part.name for part in self.folder.iterdir()))} ({size / 2**20:.1f} MB)"


@contextmanager
def gathered(document: Document | None, *, package: bool) -> Iterator[JobFiles]:
    """Those of settings, if any, in a folder of its own; with this `package`, or not.

    Plugins lie beside the settings, which name them as modules: a path of this machine is none of theirs.
    """
    with TemporaryDirectory() as made:
        folder, text = Path(made), ""
        if document is not None:
            (folder / document.file.name).write_text(text := dump(_with_sent_plugins(document.composed.tree, folder)))
        if package:
            shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=COMPILED)
        yield JobFiles(folder, hashlib.sha256(text.encode()).hexdigest()[:12])


def _with_sent_plugins(settings: Tree, folder: Path) -> Tree:
    tree = copy.deepcopy(settings)
    for part in _runs_and_sweeps(tree):
        if isinstance(named := part.get("plugins"), list):
            part["plugins"] = [_sent_plugin(str(one), folder) for one in named]
    return tree


def _runs_and_sweeps(tree: JsonValue) -> Iterator[Tree]:
    """These settings, and those inside: the run of a sweep, what a plan's phases train."""
    if isinstance(tree, dict):
        yield tree
        phases = tree.get("phases")
        for inner in (tree.get("run"), tree.get("settings"), *(phases.values() if isinstance(phases, dict) else ())):
            yield from _runs_and_sweeps(inner)


def _sent_plugin(reference: str, folder: Path) -> str:
    """Copies the code of a plugin that is not installed; the name by which a job imports it."""
    load([reference])
    name = Path(reference).stem if reference.endswith(".py") else reference
    source = Path(sys.modules[name.partition(".")[0]].__file__ or "")
    if "site-packages" in source.parts:
        return name
    if source.name == "__init__.py":
        shutil.copytree(source.parent, folder / source.parent.name, ignore=COMPILED, dirs_exist_ok=True)
    else:
        shutil.copy(source, folder)
    return name
