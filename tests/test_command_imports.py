"""What each command imports: a second of torch or Ray is felt at every `--help`, and no page of a record needs them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cogito_ray.cli import app
from cogito_ray.records.ledger import (
    COMPLETE,
    NAME,
    Ledger,
    Reported,
    SweepClosed,
    SweepOpened,
    TrialEnded,
    TrialProposed,
    TrialStarted,
    events,
)
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.tracking.follower import SENT
from cogito_ray.sweeps.sweep_spec import SweepSpec

COMMANDS = [str(command.callback and command.callback.__name__) for command in app.registered_commands]
QUICKSTART = Path(__file__).parents[1] / "search_spaces" / "quickstart.yaml"
MODELS = {"torch", "transformers", "tokenizers", "safetensors", "accelerate"}
SEARCH = {"optuna", "scipy", "sklearn", "sqlalchemy"}
CLUSTER = {"ray"}
HEAVY = MODELS | SEARCH | CLUSTER | {"datasets", "pyarrow", "pandas", "numpy", "plotly"}
RUN = """
from cogito_ray.cli import main
for line in sys.argv[1:]:
    sys.argv = line.split("\\t")
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""
LOAD = """
import cogito_ray
result = cogito_ray.load(sys.argv[1])
print(len(result.trials), result.best.number)
"""
TELL = """
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def commanded(*lines: list[object]) -> tuple[str, set[str]]:
    """What these command lines print, given in one process, and the libraries that it has imported then."""
    return ran(RUN, *("\t".join(["cogito-ray", *map(str, line)]) for line in lines))


def ran(script: str, *arguments: object) -> tuple[str, set[str]]:
    command = [sys.executable, "-c", f"import sys\n{script}{TELL}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *said, libraries = done.stdout.splitlines()
    return "\n".join(said), set(libraries.split())


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The file of a finished sweep of four trials, too few to tell what mattered, and the storage it was run in."""
    storage = tmp_path_factory.mktemp("runs")
    tree = yaml.safe_load(QUICKSTART.read_text())
    tree |= {"name": "finished", "budget": {"trials": 4}}
    file = storage.parent / "finished.yaml"
    file.write_text(yaml.safe_dump(tree))
    sweep = SweepSpec.model_validate(tree)
    with Ledger(storage / "finished" / NAME) as ledger:
        origin = Provenance(commit=None, dirty=False, versions={}, host="here")
        ledger.append(SweepOpened(at=0, spec=sweep.model_dump(mode="json"), sweep=sweep.digest(), provenance=origin))
        for number, sample in zip(range(4), sweep.search_space.corners(), strict=False):
            run = sweep.trial(sample)
            told = {"trial": run.digest(), "number": number, "sample": sample, "spec": run.model_dump(mode="json")}
            ledger.append(TrialProposed(at=1, **told))
            ledger.append(TrialStarted(at=2, **told))
            metrics = dict.fromkeys(run.metrics, 1.0 + number)
            ledger.append(Reported(trial=run.digest(), step=run.training.steps, seconds=3, metrics=metrics))
            ledger.append(TrialEnded(at=4, trial=run.digest(), status="completed", step=run.training.steps))
        ledger.append(SweepClosed(at=5, cause=COMPLETE))
    return file, storage


def test_the_package_itself_imports_no_library():
    _, libraries = ran("import cogito_ray")
    assert libraries - ran("")[1] - {*sys.stdlib_module_names} == {"cogito_ray"}


def test_a_result_is_read_from_python_without_models_cluster_and_search(recorded):
    _, storage = recorded
    said, libraries = ran(LOAD, storage / "finished")
    assert said == "4 0"
    assert libraries & (MODELS | SEARCH | CLUSTER) == set()


def test_help_and_version_import_what_draws_them_alone():
    lines = [["--help"], ["--version"], ["-h"], *([command, "--help"] for command in COMMANDS)]
    _, libraries = commanded(*lines)
    assert libraries & HEAVY == set()


def test_completion_imports_what_it_completes_alone(monkeypatch):
    typed = {"_COGITO_RAY_COMPLETE": "complete_bash", "COMP_WORDS": "cogito-ray noteb", "COMP_CWORD": "1"}
    for name, value in typed.items():
        monkeypatch.setenv(name, value)
    said, libraries = commanded([])
    assert said == "notebook"
    assert libraries & HEAVY == set()


def test_pages_and_tracker_of_a_record_import_neither_models_nor_cluster_nor_search(recorded):
    """The tracker is sent nothing, for it has everything."""
    _, storage = recorded
    folder = storage / "finished"
    (folder / SENT).write_text(json.dumps({"wandb/cogito-ray": len(events(folder / NAME))}))
    said, libraries = commanded(["report", folder], ["notebook", "--storage", storage], ["publish", folder])
    pages = [f"{folder}/report.html", *(f"{storage}/notebook.{kind}" for kind in ("md", "html", "parquet"))]
    assert [line.split()[0] for line in said.splitlines()] == [*pages, "4"]
    assert libraries & (MODELS | SEARCH | CLUSTER) == set()


def test_checking_a_sweep_and_finding_it_finished_import_neither_cluster_nor_search(recorded):
    """Both in one process, for what they do import, torch, takes seconds."""
    file, storage = recorded
    said, libraries = commanded(["check", file], ["sweep", file, "--storage", storage])
    assert "a sound sweep of 4 trials" in said
    assert "finished is complete: nothing was left to do." in said
    assert libraries & (SEARCH | CLUSTER | {"transformers", "datasets"}) == set()
