"""What MkDocs calls while it builds: adds the pages and the picture that are made from the code."""

import pkgutil
from pathlib import Path

from architecture import architecture
from command_line import command_line
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from settings import Reference

import cogito_ray
from cogito_ray.evaluation.protocols.fine_tuning import FineTuneSpec
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.sweep_spec import SweepSpec

ROOT = Path(__file__).parents[2]
FINE_TUNE = """# Settings of fine-tuning

A variant is a mapping of these keys, after `--fine-tune` of `cogito-ray evaluate`, or in `fine_tune` of `cr.evaluate`.
"""
FACE = ("api", "experiment_result")
"""Modules whose names `import cogito_ray` has."""
RUN = """# Settings of a run

A run's file holds these keys; a sweep's holds them under `run`, and `space` names them by dotted path. `N` stands for a
place in a list, from 0, `NAME` for a name of your own. A key that is not here is refused, with the nearest that is.
"""
SWEEP = """# Settings of a sweep

What may stand under `run`, and which dotted paths `space` may vary, is in the [settings of a run](run.md).
"""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The reference ends with the Python pages."""
    [reference] = [part["Reference"] for part in config.nav or () if "Reference" in part]
    pages = [{name: f"reference/python/{name}.md"} for name in ("cogito_ray", *_packages())]
    reference.append({"Python": pages})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    contributing = (ROOT / "CONTRIBUTING.md").read_text()       # its links start at the root
    pages = {
        "architecture.svg": architecture(),
        "reference/run.md": RUN + Reference(RunSpec.model_json_schema()).markdown(),
        "reference/sweep.md": SWEEP + Reference(SweepSpec.model_json_schema()).markdown(),
        "reference/fine-tune.md": FINE_TUNE + Reference(FineTuneSpec.model_json_schema()).markdown(),
        "reference/command-line.md": command_line(),
        "security.md": (ROOT / "SECURITY.md").read_text(),
        "contributing.md": contributing.replace("(SECURITY.md)", "(security.md)").replace("(docs/", "("),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(),
    }
    pages["reference/python/cogito_ray.md"] = "# `import cogito_ray as cr`\n\n" + "\n".join(map(_face, FACE))
    for name in _packages():
        pages[f"reference/python/{name}.md"] = f"# `cogito_ray.{name}`\n\n::: cogito_ray.{name}\n"
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def _face(module: str) -> str:
    """Those of its names that `import cogito_ray` has."""
    names = [name for name in cogito_ray.__all__ if getattr(cogito_ray, name).__module__ == f"cogito_ray.{module}"]
    return f"::: cogito_ray.{module}\n    options:\n      members: [{', '.join(names)}]\n"


def _packages() -> list[str]:
    """Packages and modules besides them, each a page of its own."""
    elsewhere = {*FACE, "__main__", "cli"}
    return [module.name for module in pkgutil.iter_modules(cogito_ray.__path__) if module.name not in elsewhere]
