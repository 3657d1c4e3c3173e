"""Who may import whom. A new arrow is a design decision: change the tables in the same commit."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "cogito_ray"
MODEL = {"spec", "text.vocabulary", "nn", "objectives", "losses"}
OURS = {  # package or module -> what it may import of ours, besides itself; the longest name that fits counts
    "spec": set(),
    "files": set(),
    "analysis": set(),
    "text": {"spec", "files"},
    "text.vocabulary": set(),
    "text.digests": {"spec"},
    "nn": {"spec", "text.vocabulary"},
    "objectives": {"spec", "text.vocabulary"},
    "losses": MODEL,
    "evaluation.tasks": set(),
    "evaluation.long_texts": set(),
    "evaluation.export_folder": {"training.manifest"},
    "evaluation.labelled_spec": {"spec", "evaluation.tasks", "evaluation.long_texts"},
    "evaluation.words": {"spec", "text.vocabulary", "analysis"},
    "evaluation.trained": MODEL | {"run", "text", "evaluation", "records", "training.manifest"},
    "training.optimizer": {"spec", "training.schedule"},
    "training.schedule": {"spec"},
    "training.guards": {"spec", "training.schedule"},
    "training.retention": {"spec"},
    "training.upload": set(),
    "training.manifest": set(),
    "training.checkpoint": {"text.digests"}
    | {f"training.{part}" for part in ("guards", "manifest", "retention", "rows", "upload")},
    "training.start_from": {"spec", "nn", "training.checkpoint", "training.manifest"},
    "run": MODEL
    | {"evaluation.labelled_spec", "evaluation.words", "text.spec"}
    | {f"training.{part}" for part in ("optimizer", "schedule", "guards", "retention", "start_from")},
    "evaluation": MODEL | {"run", "text", "analysis"},
    "training": MODEL | {"run", "evaluation", "analysis", "text.digests"},
    "sweeps": {"spec", "run", "text.spec"},
    "records": {"spec", "files", "run", "sweeps", "analysis", "text.digests"},
    "runtime": MODEL | {"files", "run", "text", "analysis", "evaluation", "training", "sweeps", "records"},
    "commands.screen": {"records", "sweeps", "evaluation"},
    "commands": MODEL | {"files", "run", "text", "analysis", "evaluation", "training", "sweeps", "records", "runtime"},
    "cli": {"sweeps", "files", "commands"},
    "__init__": set(),
    "__main__": {"cli"},
}
ONLY = {  # library -> the only packages that may import it, anywhere
    "ray": {"runtime"},
    "typer": {"commands"},
    "rich": {"commands"},
    "plotly": {"records"},
    "wandb": {"records"},
}
LIGHT = {"torch", "pydantic", "numpy", "safetensors"}
LIBRARIES = {  # package -> all that it may import when it is imported; inside functions it may import more
    "analysis": {"torch"},
    "nn": LIGHT,
    "nn.hub": LIGHT | {"transformers", "huggingface_hub"},
    "objectives": LIGHT,
    "losses": LIGHT,
    "training": LIGHT | {"accelerate"},
}


def faults(module: str, source: str) -> list[str]:
    """What `source`, as the module of this dotted name under cogito_ray, imports but may not."""
    here, said = _longest(module, OURS), []
    for imported, at_import in _imports(module, source):
        library, _, ours = imported.partition(".")
        if library == "cogito_ray":
            if ours and not any(_within(ours, allowed) for allowed in {here} | OURS[here]):
                said.append(f"{module} imports {imported}, which {here} may not")
        elif not any(_within(module, owner) for owner in ONLY.get(library, {module})):
            said.append(f"{module} imports {imported}, which belongs in {sorted(ONLY[library])}")
        elif at_import and library not in sys.stdlib_module_names:
            owner = next((name for name in sorted(LIBRARIES, key=len, reverse=True) if _within(module, name)), None)
            if owner and library not in LIBRARIES[owner]:
                said.append(f"{module} imports {imported} when it is imported, which {owner} may not")
    return said


def _imports(module: str, source: str) -> Iterator[tuple[str, bool]]:
    """Every import in `source`, and whether it happens when the module is imported."""
    tree = ast.parse(source)
    late = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in late) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: imports are absolute here"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = whole if node.module == "cogito_ray" else [str(node.module)]
            yield from ((name, id(node) not in late) for name in names)


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def _longest(module: str, table: dict[str, set[str]]) -> str:
    fitting = [name for name in table if _within(module, name)]
    assert fitting, f"{module} is in no row of OURS: decide what it may import"
    return max(fitting, key=len)


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts), path


def test_imports_go_down_only():
    said = [fault for module, path in _modules() for fault in faults(module, path.read_text())]
    assert not said, "\n".join(said)


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("nn.model", "from cogito_ray.losses.total import TotalLoss", "nn may not"),
        ("nn.model", "from cogito_ray import losses", "nn may not"),
        ("nn.blocks.cross", "def f():\n    import cogito_ray.objectives", "nn may not"),
        ("text.vocabulary", "from cogito_ray.spec import Spec", "text.vocabulary may not"),
        ("objectives.draw", "from cogito_ray.text.pack import pack", "objectives may not"),
        ("training.schedule", "from cogito_ray.run import RunSpec", "training.schedule may not"),
        ("analysis.rank", "from cogito_ray.spec import Spec", "analysis may not"),
        ("training.loop", "import ray.train", "belongs in ['runtime']"),
        ("sweeps.spec", "def f():\n    from ray import tune", "belongs in ['runtime']"),
        ("runtime.sweep", "from rich.table import Table", "belongs in ['commands']"),
        ("cli", "import plotly.express", "belongs in ['records']"),
        ("analysis.rank", "import numpy", "when it is imported, which analysis may not"),
        ("nn.tokens.pretrained", "import transformers", "when it is imported, which nn may not"),
    ],
)
def test_a_planted_import_is_found(module: str, source: str, fault: str):
    (said,) = faults(module, source)
    assert fault in said


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("nn.model", "from cogito_ray.nn.encoder import Encoder\nimport math, torch"),
        ("nn.tokens.pretrained", "def f():\n    import transformers"),
        ("nn.hub", "import transformers"),
        ("runtime.sweep", "from ray import tune\nfrom cogito_ray.run import RunSpec"),
        ("run", "from cogito_ray.training.schedule import ScheduleSpec"),
        ("text.pack", "import raymond"),
    ],
)
def test_an_allowed_import_is_not(module: str, source: str):
    assert faults(module, source) == []


@pytest.mark.parametrize(
    ("packages", "absent"),
    [
        ({"analysis", "nn", "objectives", "losses"}, {"ray", "transformers", "pyarrow", "accelerate", "optuna"}),
        ({"run", "training"}, {"ray", "transformers", "datasets", "optuna", "typer", "rich", "plotly"}),
    ],
)
def test_models_and_training_can_be_imported_on_a_machine_without(packages: set[str], absent: set[str]):
    wanted = [
        f"cogito_ray.{module}"
        for module, _ in _modules()
        if module.split(".")[0] in packages and not _within(module, "nn.hub")
    ]
    script = "import sys, importlib\nfor name in sys.argv[1].split(','): sys.modules[name] = None\n"
    script += "for name in sys.argv[2].split(','): importlib.import_module(name)\n"
    command = [sys.executable, "-c", script, ",".join(sorted(absent)), ",".join(wanted)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr.splitlines()[-1]
