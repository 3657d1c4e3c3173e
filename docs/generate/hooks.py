"""What MkDocs calls while it builds: adds the pages and the picture that are made from the code."""

import pkgutil
from pathlib import Path

from architecture import architecture
from command_line import command_line
from metrics_page import metrics_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from settings import Reference

import cogito_ray
from cogito_ray.evaluation.protocols.fine_tuning import FineTuneSpec
from cogito_ray.plans.plan_spec import PlanSpec
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.sweep_spec import SweepSpec

ROOT = Path(__file__).parents[2]
FINE_TUNE = """# Settings of fine-tuning

A variant is a mapping of these keys, `kind` among them, after `--protocol` of `cogito-ray evaluate`, or in the
`protocols` of `cr.evaluate`.
"""
RUN = """# Settings of a run

A run's file holds these keys; a sweep's holds them under `run`, and `space` names them by dotted path. `N` stands for a
place in a list, from 0, `NAME` for a name of your own. A key that is not here is refused, with the nearest that is.
"""
SWEEP = """# Settings of a sweep

What may stand under `run`, and which dotted paths `space` may vary, is in the [settings of a run](run.md).
"""
PLAN = """# Settings of a plan

How they are used is told in [Let a research plan run itself](../how-to/plan.md).
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
        "reference/plan.md": PLAN + Reference(PlanSpec.model_json_schema()).markdown(),
        "reference/fine-tune.md": FINE_TUNE + Reference(FineTuneSpec.model_json_schema()).markdown(),
        "reference/command-line.md": command_line(),
        "reference/metrics.md": metrics_page(),
        "security.md": (ROOT / "SECURITY.md").read_text(),
        "contributing.md": contributing.replace("(SECURITY.md)", "(security.md)").replace("(docs/", "("),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(),
    }
    members = [f"::: {module}\n    options:\n      members: {names}\n" for module, names in _face().items()]
    pages["reference/python/cogito_ray.md"] = "\n".join(["# `import cogito_ray as cr`\n", *members])
    for name in _packages():
        pages[f"reference/python/{name}.md"] = f"# `cogito_ray.{name}`\n\n::: cogito_ray.{name}\n"
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def _face() -> dict[str, list[str]]:
    """What `import cogito_ray` has, by the modules that define it; Specs are on the pages of their packages."""
    found: dict[str, list[str]] = {}
    for name in cogito_ray.__all__:
        if not name.endswith("Spec"):
            found.setdefault(getattr(cogito_ray, name).__module__, []).append(name)
    return found


def _packages() -> list[str]:
    """Packages and modules besides them, each a page of its own."""
    elsewhere = {"__main__", "cli", *(module.rpartition(".")[2] for module in _face())}
    return [module.name for module in pkgutil.iter_modules(cogito_ray.__path__) if module.name not in elsewhere]
