"""Who may import whom. A new arrow is a design decision: change the tables in the same commit."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "cogito_ray"
MODEL = {"base_spec", "spec_registry", "plugins", "text.vocabulary_info", "nn", "objectives", "losses"}
OURS = {  # package or module -> what it may import of ours, besides itself; the longest name that fits counts
    "base_spec": set(),
    "spec_registry": {"base_spec"},
    "plugins": {"base_spec", "spec_registry"},
    "gate_spec": {"base_spec"},
    "atomic_files": set(),
    "object_storage": {"atomic_files", "records.file_locks"},
    "records.file_locks": set(),
    "analysis": set(),
    "text": {"base_spec", "atomic_files", "object_storage"},
    "text.cleaning": {"base_spec", "atomic_files", "text", "evaluation.tasks", "evaluation.score_names"},
    "text.vocabulary_info": set(),
    "text.data_digests": {"base_spec"},
    "nn": {"base_spec", "spec_registry", "plugins", "text.vocabulary_info"},
    "objectives": {"base_spec", "spec_registry", "text.vocabulary_info"},
    "losses": MODEL | {"analysis.isotropy"},
    "evaluation.tasks": set(),
    "evaluation.export_folder": {"training.checkpoints.manifest"},
    "evaluation.score_names": {"base_spec", "evaluation.tasks"},
    "evaluation.labelled_evaluation_spec": {"base_spec", "evaluation.score_names", "evaluation.tasks", "nn"},
    "evaluation.validation.word_probes": {"base_spec", "text.vocabulary_info", "analysis"},
    "evaluation.checkpoint_loader": MODEL
    | {"run_spec", "text", "evaluation", "records", "training.checkpoints.manifest", "training.optimizer"}
    | {"object_storage"},
    "training.optimizer": {
        "base_spec", "nn.parametrisation", "training.learning_rate_schedule", "training.parameter_roles",
    },
    "training.parameter_roles": {"nn.parametrisation"},
    "training.learning_rate_schedule": {"base_spec"},
    "training.guards": {"base_spec", "training.learning_rate_schedule"},
    "training.checkpoints": {"training.checkpoints.manifest"},
    "training.checkpoints.checkpoint_retention": {"base_spec"},
    "training.checkpoints.checkpoint_upload": {"object_storage"},
    "training.checkpoints.manifest": set(),
    "training.checkpoints.checkpoint_store": {
        "text.data_digests", "training.guards", "training.row_fingerprint", "training.checkpoints", "object_storage",
    },
    "training.checkpoints.initial_weights": {"base_spec", "nn", "training.checkpoints"},
    "run_spec": MODEL
    | {"gate_spec", "evaluation.score_names", "evaluation.validation.word_probes", "text.data_spec"}
    | {"evaluation.labelled_evaluation_spec"}
    | {"analysis.thresholds"}
    | {"training.optimizer", "training.learning_rate_schedule", "training.guards", "training.checkpoints"},
    "evaluation": MODEL | {"run_spec", "text", "analysis"},
    "training": MODEL | {"run_spec", "evaluation", "analysis", "text.data_digests"},
    "sweeps": {"base_spec", "gate_spec", "spec_registry", "plugins", "run_spec", "text.data_spec"}
    | {"evaluation.score_names"},
    "records": {"base_spec", "gate_spec", "plugins", "atomic_files", "run_spec", "sweeps", "analysis"}
    | {"text.data_digests", "evaluation.score_names", "evaluation.tasks", "object_storage"},
    "runtime": MODEL
    | {"atomic_files", "run_spec", "text", "analysis", "evaluation", "training", "sweeps", "records"}
    | {"object_storage"},
    "plans": {"base_spec", "gate_spec", "run_spec", "sweeps", "records", "analysis", "evaluation"},
    "runtime.plan": {"atomic_files", "run_spec", "experiment_result", "plans", "sweeps", "records", "runtime"},
    "display": {"analysis", "records", "sweeps", "text.preparation_plan"},
    "experiment_result": MODEL | {"run_spec", "analysis", "evaluation", "sweeps", "records", "object_storage"},
    "control": {"base_spec", "display", "sweeps", "records", "runtime.control_channel", "object_storage"},
    "python_api": MODEL
    | {"atomic_files", "run_spec", "text", "evaluation", "sweeps", "records", "runtime", "display"}
    | {"experiment_result", "plans", "object_storage"},
    "commands": {"base_spec", "atomic_files", "run_spec", "text.prepared_corpus", "analysis", "evaluation.tasks"}
    | {"sweeps", "records", "runtime.jobs", "runtime.verification", "display", "experiment_result", "python_api"}
    | {"control", "object_storage"},
    "testing": MODEL
    | {"run_spec", "analysis", "sweeps", "text.pmi_collocations", "text.data_digests", "text.data_spec", "records"}
    | {"runtime.search", "runtime.trial_recorder"},
    "cli": {"sweeps", "atomic_files", "display", "commands"},
    "__init__": MODEL | {"run_spec", "text.data_spec", "sweeps", "experiment_result", "python_api", "control"},
    "__main__": {"cli"},
}  # fmt: skip
ONLY = {  # library -> the only packages that may import it, anywhere
    "ray": {"runtime"},
    "typer": {"commands"},
    "rich": {"commands", "display"},
    "plotly": {"records"},
    "wandb": {"records"},
    "mlflow": {"records"},
    "tensorboardX": {"records"},
}
LIGHT = {"torch", "pydantic", "numpy", "safetensors"}
LIBRARIES = {  # package -> all that it may import when it is imported; inside functions it may import more
    "analysis": {"torch"},
    "nn": LIGHT,
    "nn.interop.transformers_model": LIGHT | {"transformers", "tokenizers"},
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
    for node, at_import in _statements(_parsed(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, at_import) for alias in node.names)
        else:
            assert node.level == 0, f"{module}:{node.lineno}: imports are absolute here"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = whole if node.module == "cogito_ray" else [str(node.module)]
            yield from ((name, at_import) for name in names)


def _statements(tree: ast.AST, *, late: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, not late
        elif not isinstance(node, ast.expr):
            yield from _statements(node, late=late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@cache
def _parsed(source: str) -> ast.AST:
    return ast.parse(source)


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
        ("nn.model", "from cogito_ray.losses.total_loss import TotalLoss", "nn may not"),
        ("nn.model", "from cogito_ray import losses", "nn may not"),
        ("nn.blocks.perceiver_block", "def f():\n    import cogito_ray.objectives", "nn may not"),
        ("text.vocabulary_info", "from cogito_ray.base_spec import Spec", "text.vocabulary_info may not"),
        ("objectives.position_sampling", "from cogito_ray.text.shards.row_packing import pack", "objectives may not"),
        ("training.guards", "from cogito_ray.run_spec import RunSpec", "training.guards may not"),
        ("analysis.effective_rank", "from cogito_ray.base_spec import Spec", "analysis may not"),
        ("training.training_loop", "import ray.train", "belongs in ['runtime']"),
        ("sweeps.sweep_spec", "def f():\n    from ray import tune", "belongs in ['runtime']"),
        ("runtime.tune.sweep_driver", "from rich.table import Table", "belongs in ['commands', 'display']"),
        ("cli", "import plotly.express", "belongs in ['records']"),
        ("analysis.effective_rank", "import numpy", "when it is imported, which analysis may not"),
        ("nn.token_stages.pretrained", "import transformers", "when it is imported, which nn may not"),
    ],
)
def test_a_planted_import_is_found(module: str, source: str, fault: str):
    (said,) = faults(module, source)
    assert fault in said


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("nn.model", "from cogito_ray.nn.encoder import Encoder\nimport math, torch"),
        ("nn.token_stages.pretrained", "def f():\n    import transformers"),
        ("nn.interop.transformers_model", "import transformers"),
        ("runtime.tune.sweep_driver", "from ray import tune\nfrom cogito_ray.run_spec import RunSpec"),
        ("run_spec", "from cogito_ray.training.learning_rate_schedule import ScheduleSpec"),
        ("text.shards.row_packing", "import raymond"),
    ],
)
def test_an_allowed_import_is_not(module: str, source: str):
    assert faults(module, source) == []


def circles(imports: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Modules that import each other, over however many others: each such group whole, sorted."""
    reached = {module: _reached(module, imports) for module in imports}
    found = {tuple(sorted({other for other in reached[one] if one in reached.get(other, ())})) for one in imports}
    return sorted(list(group) for group in found if group)


def _reached(start: str, imports: Mapping[str, Collection[str]]) -> set[str]:
    seen, left = set[str](), list(imports[start])
    while left:
        if (module := left.pop()) not in seen:
            seen.add(module)
            left += imports.get(module, ())
    return seen


@cache
def _graph() -> dict[str, set[str]]:
    """What each module imports of ours: late imports, and those for type checkers alone, count as well."""
    paths = dict(_modules())
    graph = dict[str, set[str]]()
    for module, path in paths.items():
        source = path.read_text()
        named = (node for node, _ in _statements(_parsed(source)) if isinstance(node, ast.ImportFrom))
        wanted = {f"{node.module}.{alias.name}" for node in named for alias in node.names}
        wanted |= {imported for imported, _ in _imports(module, source)}
        inner = {name.removeprefix("cogito_ray.") for name in wanted if name.startswith("cogito_ray.")}
        known = {name if name in paths else name.rpartition(".")[0] for name in inner}
        graph[module] = known & paths.keys() - {module}
    return graph


def folded(imports: Mapping[str, Collection[str]], folder: str) -> dict[str, set[str]]:
    """The same between what lies in a folder: its modules, and each folder inside it as one."""

    def part(module: str) -> str:
        return module.removeprefix(f"{folder}.").partition(".")[0]

    inside = {module: wanted for module, wanted in imports.items() if module.startswith(f"{folder}.")}
    graph: dict[str, set[str]] = {part(module): set() for module in inside}
    for module, wanted in inside.items():
        graph[part(module)] |= {part(other) for other in wanted if other in inside} - {part(module)}
    return graph


def test_no_module_imports_itself_over_others():
    assert not (found := circles(_graph())), "\n".join(map(" <-> ".join, found))


def test_no_folder_of_a_package_imports_itself_over_others():
    graph = _graph()
    folders = {module.rpartition(".")[0] for module in graph if "." in module}
    found = [f"{folder}: {' <-> '.join(each)}" for folder in folders for each in circles(folded(graph, folder))]
    assert not found, "\n".join(sorted(found))


MOST_MODULES = 10
"""In a folder, besides its `__init__`: more are not seen at a glance."""
CROWDED = {"commands"}
"""Folders with more."""


def test_no_folder_holds_more_modules_than_are_seen_at_a_glance():
    folders = Counter(path.parent for _, path in _modules() if path.name != "__init__.py")
    crowded = {".".join(folder.relative_to(ROOT).parts) for folder, held in folders.items() if held > MOST_MODULES}
    assert crowded == CROWDED


def test_every_folder_says_in_a_sentence_what_lives_there():
    folders = {path.parent for _, path in _modules()} - {ROOT}
    said = {folder: ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) for folder in folders}
    assert not [folder.name for folder, sentence in said.items() if not sentence]


def test_a_planted_circle_is_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"a"}}
    assert circles(graph) == [["a", "b", "c"]]
    assert circles(graph | {"c": {"d"}}) == []
    nested = {"p.one.x": {"p.two.y"}, "p.two.y": set(), "p.two.z": {"p.one.x"}, "p.three": {"p.one.x"}}
    assert circles(nested) == []
    assert circles(folded(nested, "p")) == [["one", "two"]]


ALONE = (  # packages -> libraries that need not be there, one after the other in one process, as torch takes seconds
    ({"analysis", "nn", "objectives", "losses"}, {"ray", "transformers", "pyarrow", "accelerate", "optuna"}),
    ({"run_spec", "training"}, {"ray", "transformers", "datasets", "optuna", "typer", "rich", "plotly"}),
)
IMPORT = """
import importlib, sys
for absent, wanted in zip(sys.argv[1::2], sys.argv[2::2]):
    for name in [name for name, module in sys.modules.items() if module is None]:
        del sys.modules[name]
    for name in absent.split(","):
        assert name not in sys.modules, f"{name} was imported before"
        sys.modules[name] = None
    for name in wanted.split(","):
        importlib.import_module(f"cogito_ray.{name}")
"""


def test_models_and_training_can_be_imported_on_a_machine_without_what_others_need():
    modules = [module for module, _ in _modules() if not _within(module, "nn.interop.transformers_model")]
    wanted = [[module for module in modules if module.split(".")[0] in packages] for packages, _ in ALONE]
    arguments = [",".join(part) for (_, absent), named in zip(ALONE, wanted, strict=True) for part in (absent, named)]
    ran = subprocess.run([sys.executable, "-c", IMPORT, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
