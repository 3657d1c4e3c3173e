"""By what a sweep was made: commit, versions, host."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cogito_ray.spec import Spec

PACKAGES = ("cogito-ray", "torch", "ray", "optuna", "transformers", "tokenizers")


class Provenance(Spec):
    commit: str | None
    """Of the source tree; None outside a git checkout."""
    dirty: bool
    """Were there changes that no commit holds?"""
    versions: dict[str, str]
    host: str


def collect(*, host: str, source: Path = Path(__file__).parents[2]) -> Provenance:
    """The facts of now. `source`: a folder of the tree whose commit is asked for."""
    commit = _git(source, "rev-parse", "HEAD")
    changes = _git(source, "status", "--porcelain", "--untracked-files=no")
    packages = {name: found for name in PACKAGES if (found := _version(name))}
    versions = {"python": platform.python_version(), **packages}
    return Provenance(commit=commit or None, dirty=bool(changes), versions=versions, host=host)


def _git(folder: Path, *arguments: str) -> str:
    """What git says; nothing where there is no git or no checkout."""
    try:
        said = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return said.stdout.strip() if said.returncode == 0 else ""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
