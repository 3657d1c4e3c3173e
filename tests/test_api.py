"""`import cogito_ray as cr`: the same settings, checks and words as the command line's, without Ray."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import cogito_ray as cr
from cogito_ray.cli import main

ROOT = Path(__file__).parents[1]
QUICKSTART, DEBUG = ROOT / "search_spaces" / "quickstart.yaml", ROOT / "jobs" / "debug.yaml"


def quickstart():
    return yaml.safe_load(QUICKSTART.read_text())


def test_every_name_is_there_and_is_what_editors_are_told():
    told = {}
    for node in ast.walk(ast.parse(inspect.getsource(cr))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("cogito_ray."):
            told |= {alias.name: node.module for alias in node.names}
    assert set(told) == set(cr.__all__)
    assert set(cr.__all__) <= set(dir(cr))
    for name, module in told.items():
        assert getattr(cr, name) is getattr(sys.modules[module], name)


def test_a_name_that_is_none_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'sweeep'"):
        _ = cr.sweeep


def test_importing_it_imports_nothing_else():
    script = "import sys, cogito_ray\nsys.exit(', '.join({'torch', 'ray', 'pydantic', 'rich'} & set(sys.modules)) or 0)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_every_function_is_documented_and_typed():
    functions = [function for name in cr.__all__ if inspect.isfunction(function := getattr(cr, name))]
    assert len(functions) == 32
    for function in functions:
        typed = inspect.signature(function)
        assert function.__doc__, function
        assert typed.return_annotation is not inspect.Signature.empty
        assert all(one.annotation is not inspect.Parameter.empty for one in typed.parameters.values())


def given_as_file(tree, folder):
    (folder / "given.yaml").write_text(yaml.safe_dump(tree))
    return folder / "given.yaml"


def given_as_text(tree, folder):
    return str(given_as_file(tree, folder))


def given_as_mapping(tree, folder):
    return tree


def given_as_spec(tree, folder):
    return cr.SweepSpec.model_validate(tree)


@pytest.mark.parametrize("given", [given_as_file, given_as_text, given_as_mapping, given_as_spec])
def test_a_file_a_mapping_and_a_spec_say_the_same(tmp_path, given):
    settings = given(quickstart(), tmp_path)
    assert cr.check(settings).spec == cr.check(QUICKSTART).spec
    changed = cr.check(settings, overrides={"run.training.steps": 80, "name": "1e3"}).spec
    assert (changed.run["training"]["steps"], changed.name) == (80, "1e3")


def test_what_a_check_says_is_what_the_command_line_says(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["cogito-ray", "check", str(QUICKSTART), str(DEBUG)])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().out == f"{cr.check(QUICKSTART)}\n{cr.check(DEBUG)}\n"


FAULTS = {"goals": [{"metric": "loss/total", "mode": "lowest"}], "colour": "red"}


def test_all_faults_of_a_mapping_are_told_at_once_without_lines(tmp_path):
    with pytest.raises(ValueError, match="2 faults") as told:
        cr.check(quickstart() | FAULTS)
    first, *faults = str(told.value).splitlines()
    assert first == "these settings: 2 faults"
    assert faults[0].startswith("  goals.0.mode: 'lowest' is not known here")
    assert faults[1].startswith("  colour: there is no such setting here")


def test_faults_of_a_file_are_the_command_lines(tmp_path, capsys, monkeypatch):
    file = given_as_file(quickstart() | FAULTS, tmp_path)
    with pytest.raises(ValueError, match="2 faults") as told:
        cr.sweep(file, storage=tmp_path)
    monkeypatch.setattr(sys, "argv", ["cogito-ray", "sweep", str(file), "--storage", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err == f"{told.value}\n"


def test_a_faulty_override_is_told_as_an_argument():
    with pytest.raises(ValueError, match=r"run.training.batch: should be .* \(argument run.training.batch=true\)"):
        cr.check(QUICKSTART, overrides={"run.training.batch": True})


def test_a_mapping_may_extend_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    extended = {"extends": "search_spaces/quickstart.yaml", "budget": {"trials": 3}}
    assert cr.check(extended).spec.budget.trials == 3
    with pytest.raises(ValueError, match=r"extends: nowhere.yaml is no file; write its path .* one$"):
        cr.check(extended | {"extends": "nowhere.yaml"})


@pytest.mark.parametrize(
    ("odd", "fault"),
    [
        ({"name": "a\x1b[31mb"}, "name: holds the character U\\+001B"),
        ({"question": "https://me:hunter2@host"}, "question: holds a password"),
        ({"run": object()}, "Unable to serialize unknown type"),
    ],
    ids=["control", "secret", "object"],
)
def test_a_mapping_is_checked_like_a_file(odd, fault):
    with pytest.raises(ValueError, match=fault) as told:
        cr.check(quickstart() | odd)
    assert "hunter2" not in str(told.value)


def test_settings_of_the_other_sort_are_refused_with_the_right_function(tmp_path):
    with pytest.raises(ValueError, match=r"describes a single run; train it: cogito-ray train .*debug\.yaml"):
        cr.sweep(DEBUG, storage=tmp_path)
    with pytest.raises(ValueError, match=r"^these settings describe a sweep; run it: cogito_ray\.sweep\(\.\.\.\)"):
        cr.train(quickstart(), storage=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", [cr.sweep, cr.train])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, call):
    settings = {cr.sweep: QUICKSTART, cr.train: DEBUG}[call]
    with pytest.raises(ValueError, match=r"name: '\.\./x' does not fit"):
        call(settings, storage=tmp_path, name="../x")
    assert list(tmp_path.iterdir()) == []


def test_workers_that_cannot_share_a_batch_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"training\.batch 32 cannot be shared by 40 workers"):
        cr.train(DEBUG, storage=tmp_path, overrides={"workers": 40})


def test_a_storage_without_sweeps_and_a_project_that_is_none_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        cr.notebook(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="a project of Weights & Biases has"):
        cr.publish(tmp_path, project="a/b")
