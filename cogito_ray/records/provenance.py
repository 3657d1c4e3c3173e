"""By what a sweep was made: commit, versions, host."""

import hashlib
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import Field

from cogito_ray.base_spec import Spec
from cogito_ray.plugins import digests

PACKAGE = Path(__file__).parents[1]
PACKAGES = ("cogito-ray", "torch", "ray", "optuna", "transformers", "tokenizers")


class Provenance(Spec):
    """Which code, packages and machine did something."""

    commit: str | None
    """Of the source tree; None outside a git checkout."""
    dirty: bool
    """Were there changes that no commit holds?"""
    versions: dict[str, str]
    host: str
    plugins: dict[str, str] = Field(default={}, exclude_if=lambda plugins: not plugins)
    """Twelve hex digits of the source of each module that the settings name under `plugins`."""
    gpus: tuple[str, ...] | None = Field(default=None, exclude_if=lambda gpus: gpus is None)
    """Kinds of accelerators in the cluster, as Ray names them; None where nobody asked."""
    source: str | None = None
    """Twelve hex digits of the package's own files, which tell changes apart that no commit holds. Version 0.1 did not
    say."""

    describe: str | None = Field(default=None, exclude_if=lambda described: described is None)
    """The commit as `git describe` names it, after the nearest tag, if there is one."""

    @property
    def code(self) -> str:
        """Names the code: equal for equal code, as far as is known."""
        plugins = "".join(f", {name} {digest}" for name, digest in self.plugins.items())
        if self.commit is not None and not self.dirty:
            return f"{self.commit[:12]}{plugins}"
        name = self.commit[:12] if self.commit else f"no commit, version {self.versions.get('cogito-ray', 'unknown')}"
        changed = " with changes" if self.dirty else ""
        return f"{name}{changed}{f' ({self.source})' if self.source else ''}{plugins}"

    def changes(self, later: "Provenance") -> list[str]:
        """How a later driver's code, packages and GPUs differ: `name: old -> new` each."""
        code = [f"code: {self.code} -> {later.code}"] if self.code != later.code else []
        names = dict.fromkeys([*self.versions, *later.versions])
        versions = ((name, self.versions.get(name, "none"), later.versions.get(name, "none")) for name in names)
        changed = code + [f"{name}: {old} -> {new}" for name, old, new in versions if old != new]
        if self.gpus is None or later.gpus is None or self.gpus == later.gpus:
            return changed
        return [*changed, f"GPUs: {', '.join(self.gpus) or 'none'} -> {', '.join(later.gpus) or 'none'}"]


def collect(
    *, host: str, plugins: Iterable[str] = (), gpus: tuple[str, ...] | None = None, source: Path = PACKAGE.parent
) -> Provenance:
    """The facts of now. `plugins`: those that the settings name. `source`: a folder of the tree whose commit is asked
    for."""
    commit = _git(source, "rev-parse", "HEAD")
    changes = _git(source, "status", "--porcelain", "--untracked-files=no")
    packages = {name: found for name in PACKAGES if (found := _version(name))}
    versions = {"python": platform.python_version(), **packages}
    return Provenance(
        commit=commit or None,
        dirty=bool(changes),
        versions=versions,
        host=host,
        plugins=digests(plugins),
        gpus=gpus,
        source=_digest_of(PACKAGE),
        describe=_git(source, "describe", "--tags", "--always", "--dirty") or None,
    )


def _digest_of(folder: Path) -> str:
    whole = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        whole.update(f"{file.relative_to(folder)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()[:12]


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
