"""Documentation that names what is there: settings, files, commands, and references made from the code."""

import re
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typer
import yaml
from architecture import architecture
from settings import Reference

from cogito_ray import plugins
from cogito_ray.base_spec import Spec
from cogito_ray.cli import app
from cogito_ray.evaluation.protocols.fine_tuning import FineTuneSpec
from cogito_ray.plans.plan_spec import PlanSpec
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.yaml_io.yaml_composition import ONLY_OF_SWEEPS, compose
from cogito_ray.sweeps.yaml_io.yaml_loader import Document

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
BASES = ("search_spaces/quickstart.yaml", "jobs/debug.yaml")
REPLACED = {"space", "promote", "scale"}
"""Parts of a sweep that a page shows whole."""
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)

NAMED = re.compile(r'(?<![\w/."-])((?:cogito_ray|search_spaces|jobs|cluster|tests|docs)/[\w./-]*\w(?:\.\w+|/))')
"""Files and folders of the repository."""
MADE = {
    *("run.md", "sweep.md", "plan.md", "fine-tune.md", "metrics.md", "command-line.md", "cogito_ray.md"),
    *("security.md", "contributing.md", "architecture.svg"),
}
"""Pages that are made when the site is built, which checks links to them."""
MODULE = re.compile(r'^```python title="(\w+\.py)"\n(.*?)^```$', re.DOTALL | re.MULTILINE)
"""Files of Python that pages show whole, beside the YAML that names them."""


def blocks(*languages: str) -> list[tuple[str, str]]:
    """(page and number, content) of all that stand on pages."""
    return [
        (f"{page.name}-{number}", content)
        for page in PAGES
        for number, (_, language, content) in enumerate(FENCE.findall(page.read_text()))
        if language in languages
    ]


@pytest.mark.parametrize("content", [pytest.param(text, id=name) for name, text in blocks("yaml")])
def test_settings_on_a_page_are_those_of_a_sweep_or_run(content: str, tmp_path: Path):
    for shipped in [*(ROOT / "search_spaces").iterdir(), ROOT / "jobs" / "debug.yaml"]:
        (tmp_path / shipped.name).symlink_to(shipped)
    for name, code in (found for page in PAGES for found in MODULE.findall(page.read_text())):
        (tmp_path / name).write_text(code)
    file = tmp_path / "page.yaml"
    file.write_text(content)
    if "extends:" not in content:               # a part of a file: it stands over a shipped one
        tree = compose(file).tree
        base = yaml.safe_load((ROOT / BASES[ONLY_OF_SWEEPS.isdisjoint(tree)]).read_text())
        kept = {key: part for key, part in base.items() if key not in REPLACED & tree.keys()}
        (tmp_path / "base.yaml").write_text(yaml.safe_dump(kept))
        file.write_text(f"extends: base.yaml\n{content}")
    Document.read(file).either()
    plugins.unload()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_that_a_page_names_are_there(page: Path):
    text = page.read_text()
    named = NAMED.findall(text)
    linked = [target.split("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target]
    missing = [name for name in named if not (ROOT / name).exists()]
    missing += [name for name in linked if name and Path(name).name not in MADE and not (page.parent / name).exists()]
    assert missing == []


def test_names_of_the_package_on_pages_are_there():
    named = {name for page in PAGES for name in re.findall(r"\bcogito_ray((?:\.(?!md)\w+)+)", page.read_text())}
    for name in named:
        module, *inner = resolved(name.strip(".").split("."))
        assert all(re.search(rf"\b{part}\b", module) for part in inner), name


def resolved(parts: list[str]) -> list[str]:
    """Source of the longest module of these parts, and the parts that are left."""
    for end in range(len(parts), -1, -1):
        path = ROOT.joinpath("cogito_ray", *parts[:end])
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.exists():
                return [file.read_text(), *parts[end:]]
    raise AssertionError("the package itself is there")


def test_metrics_on_pages_are_known_to_the_package():
    named = {name for page in PAGES for name in re.findall(r"\b(?:eval|concepts)/([a-z]\w+)", page.read_text())}
    known = set(re.findall(r"\w+", " ".join(file.read_text() for file in (ROOT / "cogito_ray").rglob("*.py"))))
    assert named <= known


def test_commands_on_pages_are_those_of_the_command_line():
    group = typer.main.get_command(app)
    options = {
        name: set(chain.from_iterable(parameter.opts for parameter in command.params))
        for name, command in group.commands.items()
    }
    for page, content in blocks("sh", "text", "console"):
        for name, rest in re.findall(r"^(?:\$ )?cogito-ray ([a-z]+)(.*)$", content, re.MULTILINE):
            assert name in options, page
            assert set(re.findall(r"(?<!\S)--[a-z-]+", rest.split("#")[0])) <= options[name], page


@pytest.mark.parametrize("root", [RunSpec, SweepSpec, PlanSpec, FineTuneSpec])
def test_the_reference_has_every_key_of_every_setting(root: type[Spec]):
    schema = root.model_json_schema()
    page, explained = Reference(schema).markdown(), Reference(schema).explained
    for name, definition in {"": schema, **schema["$defs"]}.items():
        keys = {key for key, part in definition.get("properties", {}).items() if "const" not in part}
        told = set(re.findall(rf"{{: #{re.escape(explained[name].anchor)}--(\w+) \.key }}", page)) if keys else set()
        assert told == keys, name


def test_the_picture_has_a_box_a_package_and_lines_that_go_down():
    picture = ElementTree.fromstring(architecture())
    space = {"svg": "http://www.w3.org/2000/svg"}
    boxes = {box.text for box in picture.findall("svg:text[@font-weight]", space)}
    assert {folder.parent.name for folder in (ROOT / "cogito_ray").glob("*/__init__.py")} - {"testing"} <= boxes
    for line in picture.findall("svg:path", space):
        numbers = [float(number) for number in re.findall(r"-?\d+\.?\d*", line.get("d", ""))]
        assert numbers[1] < numbers[-1]
