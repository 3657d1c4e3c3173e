"""Kinds that are defined outside of the package: known from YAML, told apart, and refused with a reason."""

import json
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from cogito_ray import plugins
from cogito_ray.evaluation.tasks.sentence_tasks import TASKS, Task, register_task, tasks_of
from cogito_ray.records.ledger import SweepOpened
from cogito_ray.records.provenance import collect
from cogito_ray.records.results.gate_results import stopping
from cogito_ray.records.sweep_record import fold
from cogito_ray.run_spec import RunSpec
from cogito_ray.spec_registry import registered
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.yaml_io.json_schema import run_schema
from cogito_ray.sweeps.yaml_io.yaml_composition import SweepFault
from cogito_ray.sweeps.yaml_io.yaml_loader import load, load_run
from cogito_ray.testing import RegulariserSuite, SamplerSuite

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "extend.md"
PLUGIN = '''\
from typing import ClassVar, Literal

from torch import Tensor

from cogito_ray.base_spec import Spec
from cogito_ray.spec_registry import register


@register("regulariser")
class SpreadSpec(Spec):
    """Minus the spread of concepts, from above bounded by nothing: a plugin of the tests."""

    kind: Literal["spread"] = "spread"
    floor: ClassVar[float] = 0.0
    fits_in_width: ClassVar[bool] = True
    least_concepts: ClassVar[int] = 2
    over_texts: ClassVar[bool] = False
    layers: Literal["last", "every"] = "last"
    margin: float = 1.0

    def __call__(self, concepts: Tensor) -> Tensor:
        return (self.margin - concepts.std(dim=1)).relu().mean()
'''
RUN = """\
plugins: [./spreading.py]
data: {sources: {docs: {kind: python-docs, part: library}}, length: 32}
model: {width: 64, heads: 4, concepts: 8, decoder: {kind: position}}
objective: {kind: tsdae}
loss: {regularisers: [{kind: spread, margin: 0.5}]}
training: {steps: 100, batch: 8}
"""
SWEEP = """\
name: tiny
plugins: [spreading.py]
run:
  data: {sources: {docs: {kind: python-docs, part: library}}, length: 32}
  model: {width: 64, heads: 4, concepts: 8, decoder: {kind: position}}
  objective: {kind: tsdae}
  training: {steps: 100, batch: 8}
space:
  loss.regularisers: {preset: {none: [], spread: [{kind: spread}]}}
goals: [{metric: eval/reconstruction_nats, mode: min}]
budget: {trials: 4}
"""


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    yield
    plugins.unload()
    assert registered() == ()


@pytest.fixture
def project(tmp_path):
    """A folder with a plugin, a run and a sweep."""
    for name, text in {"spreading.py": PLUGIN, "run.yaml": RUN, "sweep.yaml": SWEEP}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def fault_of(file):
    with pytest.raises(SweepFault) as refused:
        load_run(file)
    [fault] = refused.value.faults
    return fault


def test_a_run_names_kinds_of_a_file_beside_it(project):
    run = load_run(project / "run.yaml")
    assert run.plugins == (str(project / "spreading.py"),)
    assert (run.terms()[-1], run.loss.regularisers[0].margin) == ("spread", 0.5)


def test_a_sweep_tries_its_points_with_the_kinds_of_its_plugins(project):
    sweep = load(project / "sweep.yaml")
    run = sweep.trial({"loss.regularisers": "spread"})
    assert [regulariser.kind for regulariser in run.loss.regularisers] == ["spread"]
    assert run.plugins == (str(project / "spreading.py"),)
    (project / "sweep.yaml").write_text(SWEEP.replace("[{kind: spread}]", "[{kind: spread, margim: 1}]"))
    with pytest.raises(SweepFault, match="margim: there is no such setting here; did you mean margin"):
        load(project / "sweep.yaml")


def test_a_misspelt_kind_of_a_plugin_is_told_with_the_nearest(project):
    (project / "run.yaml").write_text(RUN.replace("kind: spread,", "kind: spreed,"))
    assert "there is no kind 'spreed'; did you mean spread?" in fault_of(project / "run.yaml")


def test_a_schema_knows_kinds_of_plugins(project):
    assert '"spread"' not in json.dumps(run_schema())
    load_run(project / "run.yaml")
    assert '"const": "spread"' in json.dumps(run_schema())


def test_a_package_is_named_as_it_is_imported(project, monkeypatch):
    monkeypatch.syspath_prepend(project)
    (project / "mine").mkdir()
    (project / "mine" / "__init__.py").write_text("from mine import losses\n")
    (project / "mine" / "losses.py").write_text(PLUGIN)
    (project / "run.yaml").write_text(RUN.replace("./spreading.py", "mine"))
    assert load_run(project / "run.yaml").plugins == ("mine",)


def test_files_that_extend_one_another_bring_their_plugins(project):
    (project / "inner").mkdir()
    (project / "inner" / "other.py").write_text(PLUGIN.replace("spread", "other").replace("Spread", "Other"))
    (project / "inner" / "mine.yaml").write_text(
        "extends: ../run.yaml\nplugins: [other.py]\nloss: {regularisers: [{kind: other}, {kind: spread}]}\n"
    )
    run = load_run(project / "inner" / "mine.yaml")
    assert run.plugins == (str(project / "inner" / ".." / "spreading.py"), str(project / "inner" / "other.py"))


def test_another_process_that_is_given_a_run_imports_its_plugins(project, tmp_path):
    run = load_run(project / "run.yaml")
    (tmp_path / "run.pickle").write_bytes(pickle.dumps(run))
    code = "import pickle, sys; run = pickle.load(open(sys.argv[1], 'rb')); print(*run.loss.regularisers, run.digest())"
    said = subprocess.check_output([sys.executable, "-c", code, tmp_path / "run.pickle"], text=True)
    assert said.split() == ["kind='spread'", "layers='last'", "margin=0.5", run.digest()]


def test_a_run_is_the_same_wherever_its_plugin_lies(project, tmp_path):
    run = load_run(project / "run.yaml")
    assert run.digest() == run.model_copy(update={"plugins": ("/elsewhere/spreading.py",)}).digest()


def test_a_plugin_that_was_moved_is_found_by_the_name_of_its_module(project):
    tree = load_run(project / "run.yaml").model_dump()
    assert RunSpec.model_validate(tree | {"plugins": ["/elsewhere/spreading.py"]}).terms()[-1] == "spread"


def test_changed_source_is_read_again_and_told_as_other_code(project):
    run = load_run(project / "run.yaml")
    before = collect(host="h", plugins=run.plugins)
    (project / "spreading.py").write_text(PLUGIN.replace("margin: float = 1.0", "margin: float = 2.0"))
    (project / "run.yaml").write_text(RUN.replace(", margin: 0.5", ""))
    assert load_run(project / "run.yaml").loss.regularisers[0].margin == 2.0
    [change] = before.changes(collect(host="h", plugins=run.plugins))
    assert change.startswith("code: ")
    assert before.plugins.keys() == {"spreading"}


def test_kinds_of_a_plugin_that_is_not_named_are_refused(project):
    load_run(project / "run.yaml")
    (project / "run.yaml").write_text(RUN.replace("plugins: [./spreading.py]\n", ""))
    assert fault_of(project / "run.yaml").startswith(f"plugins: lacks {project / 'spreading.py'}, whose kinds are used")


FAULTY = [
    ("from typing", "import nowhere\nfrom typing", "No module named 'nowhere' (line 1 of "),
    ("ClassVar, Literal\n", "ClassVar, Literal)\n", "SyntaxError: unmatched ')'"),
    ("@register", "odd\n@register", "NameError: name 'odd' is not defined (line 9 of "),
    ('"spread"', '"mst"', "the kind 'mst' of a regulariser is taken by cogito_ray.losses.diversity_regularisers.Mst"),
    (" kind:", " sort:", 'SpreadSpec has no kind; write as its first field: kind: Literal["a_name"] = "a_name"'),
    ("(Spec)", "", "register('regulariser'): SpreadSpec is no Spec; derive it from cogito_ray.base_spec.Spec"),
    ("lariser", "larizer", "register: there is no union 'regularizer'; did you mean regulariser?"),
    ("floor", "flour", "SpreadSpec lacks floor, which every other regulariser has; see cogito_ray.losses."),
]


@pytest.mark.parametrize(("old", "new", "fault"), FAULTY, ids=[fault for _, _, fault in FAULTY])
def test_a_plugin_that_is_at_fault_is_refused_with_its_line_and_leaves_nothing(project, old, new, fault):
    (project / "spreading.py").write_text(PLUGIN.replace(old, new))
    said = fault_of(project / "run.yaml")
    assert said.startswith(f"plugins.0: {project / 'spreading.py'} cannot be imported: ")
    assert fault in said
    assert said.endswith("(line 1)")
    (project / "spreading.py").write_text(PLUGIN)
    assert load_run(project / "run.yaml")


def test_a_plugin_that_is_not_there_is_refused(project):
    (project / "spreading.py").unlink()
    assert f"{project / 'spreading.py'} is no file on this machine" in fault_of(project / "run.yaml")
    (project / "run.yaml").write_text(RUN.replace("./spreading.py", "nowhere_at_all"))
    assert "nowhere_at_all cannot be imported: No module named 'nowhere_at_all'" in fault_of(project / "run.yaml")
    (project / "run.yaml").write_text(RUN.replace("./spreading.py", "my losses"))
    assert "'my losses' is no module; write its name, such as my_package, or a file" in fault_of(project / "run.yaml")


def test_a_file_with_the_name_of_another_module_is_refused(project):
    (project / "json.py").write_text(PLUGIN)
    (project / "run.yaml").write_text(RUN.replace("./spreading.py", "./json.py"))
    assert "another module called json is loaded already" in fault_of(project / "run.yaml")


def test_code_outside_of_any_environment_is_sent_to_other_machines(project):
    load_run(project / "run.yaml")
    assert str(project / "spreading.py") in plugins.paths()


def test_a_policy_of_a_plugin_stops_trials(project):
    (project / "spreading.py").write_text(
        PLUGIN
        + '''

from cogito_ray.sweeps.early_stopping.stopping_spec import NoStoppingSpec


@register("early_stopping")
class PatientSpec(NoStoppingSpec):
    kind: Literal["patient"] = "patient"
'''
    )
    (project / "sweep.yaml").write_text(SWEEP + "early_stopping: {kind: patient}\n")
    sweep = load(project / "sweep.yaml")
    assert sweep.early_stopping.kind == "patient"
    opened = SweepOpened(at=0, spec=sweep.model_dump(mode="json"), sweep="s", provenance=collect(host="h"))
    plugins.unload()
    assert stopping(fold([opened])).kind == "patient"   # as a report asks that knows the ledger alone


def test_a_run_that_holds_no_plugins_says_nothing_of_them(project):
    tree = load_run(project / "run.yaml").model_dump()
    plain = RunSpec.model_validate(tree | {"plugins": [], "loss": {}})
    assert "plugins" not in plain.model_dump()
    with pytest.raises(ValidationError, match="plugins"):
        RunSpec.model_validate(tree | {"plugins": 3})
    assert SweepSpec.model_fields["plugins"].default == ()
    assert Path(plugins.absolute("x.py")).is_absolute()


def loaded_from_page(name, union, folder):
    """The kind that a file of the documentation adds to a union."""
    [code] = re.findall(rf'```python title="{name}"\n(.*?)```', PAGE.read_text(), re.DOTALL)
    (folder / name).write_text(code)
    plugins.load([str(folder / name)])
    [kind] = registered(union)
    return kind


class TestTheRegulariserOnThePageAboutPlugins(RegulariserSuite):
    """A file outside of the package, as the documentation shows it, keeps what every regulariser promises."""

    @pytest.fixture
    def regulariser(self, tmp_path):
        return loaded_from_page("my_losses.py", "regulariser", tmp_path)()


class TestTheSamplerOnThePageAboutPlugins(SamplerSuite):
    """And this one what every sampler does."""

    @pytest.fixture
    def sampler(self, tmp_path):
        return loaded_from_page("my_samplers.py", "sampler", tmp_path)()


def test_a_task_of_a_plugin_may_be_asked_of_a_run_and_one_of_the_package_is_not_replaced(project):
    task = Task(name="tickets", hub="me/tickets", folder="tickets", texts=("subject",), classes=("a", "b"))
    code = f"from cogito_ray.evaluation.tasks.sentence_tasks import Task, register_task\nregister_task({task!r})\n"
    (project / "spreading.py").write_text(f"{PLUGIN}\n{code}")
    asked = "evaluation: {labelled: {tasks: [tickets]}}\n"
    (project / "run.yaml").write_text(RUN + asked)
    assert load_run(project / "run.yaml").evaluation.labelled.tasks == ("tickets",)
    assert tasks_of(["tickets"]) == [task]
    (project / "run.yaml").write_text(RUN + asked.replace("tickets", "tickts"))
    assert "no task is called tickts; did you mean tickets?" in fault_of(project / "run.yaml")
    with pytest.raises(ValueError, match="the package has a task 'stsb'"):
        register_task(replace(task, name="stsb"))
    del TASKS["tickets"]
