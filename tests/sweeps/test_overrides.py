"""Settings that are changed where a command or a function is called."""

import pytest

from cogito_ray.sweeps.space.validation_messages import SweepFault
from cogito_ray.sweeps.yaml_io.yaml_loader import Document, load, load_run

RUN = """\
data: {sources: {docs: {kind: python-docs, part: library}}, length: 32}
model: {width: 64, decoder: {kind: position}}
objective: {kind: tsdae}
training: {steps: 100}
"""
SWEEP = """\
name: tiny
run:
  data: {sources: {docs: {kind: python-docs, part: library}}, length: 32}
  model: {width: 64, decoder: {kind: position}}
  objective: {kind: tsdae}
space:
  objective.rate: {uniform: [0.3, 0.9]}
  model.concepts: {choice: [4, 8]}
goals: [{metric: eval/reconstruction_nats, mode: min}]
budget: {trials: 6}
"""


@pytest.fixture
def write(tmp_path):
    def written(text, name="file.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return written


def faults(file, *overrides):
    with pytest.raises(SweepFault) as refused:
        Document.read(file, overrides).either()
    return refused.value.faults


def tree(file, *overrides):
    return Document.read(file, overrides).composed.tree


def test_an_override_equals_the_file_that_says_so(write):
    one, two = write(RUN), write(RUN.replace("steps: 100", "steps: 50").replace("64", "32"), "other.yaml")
    assert Document.read(one, ["training.steps=50", "model.width=32"]).run() == load_run(two)


def test_a_part_that_the_file_leaves_at_its_default_takes_an_override_of_one_setting(write):
    run = Document.read(write(RUN), ["training.schedule.warmup_steps=7"]).run()
    default = load_run(write(RUN)).training.schedule
    assert run.training.schedule == default.model_copy(update={"warmup_steps": 7})


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 1e-3), ("[1, 2]", [1, 2]), ("{a: x}", {"a": "x"}), ("a=b", "a=b"), ("'1'", "1")]
)
def test_values_are_yaml(write, text, value):
    assert tree(write("question: why"), f"question={text}") == {"question": value}


def test_entries_of_lists_and_keys_with_dots_are_reached(write):
    given = tree(
        write(SWEEP), "goals.0.mode=max", "space.objective.rate.uniform.1=0.8", "space.model.depth.choice=[1, 2]"
    )
    assert given["goals"][0]["mode"] == "max"
    assert given["space"]["objective.rate"] == {"uniform": [0.3, 0.8]}
    assert given["space"]["model.depth"] == {"choice": [1, 2]}


def test_null_takes_out_what_cannot_be_null_and_is_a_value_elsewhere(write):
    given = tree(write(SWEEP), "space.model.concepts=null", "run.model.decoder=null")
    assert list(given["space"]) == ["objective.rate"]
    assert given["run"]["model"]["decoder"] is None


def test_python_gives_overrides_as_values(write):
    changed = load(write(SWEEP), {"run.model.width": 32, "space.model.concepts": {"choice": [2, 4]}})
    arguments = ["run.model.width=32", "space.model.concepts={choice: [2, 4]}"]
    assert changed == Document.read(write(SWEEP), arguments).sweep()


def test_a_fault_of_an_override_names_its_argument_and_what_was_meant(write):
    assert faults(write(RUN), "training.stepz=50", "model.width=wide") == [
        "model.width: should be a whole number; got 'wide' (argument model.width=wide)",
        "training.stepz: there is no such setting here; did you mean steps? (argument training.stepz=50)",
    ]


def test_faults_of_the_file_keep_their_lines_beside_overrides(write):
    assert faults(write(RUN.replace("64", "wide")), "training.steps=50") == [
        "model.width: should be a whole number; got 'wide' (line 2)"
    ]


@pytest.mark.parametrize(
    ("argument", "fault"),
    [
        ("run.seed=1", "run.seed: there is no such setting in a run; did you mean seed? (argument run.seed=1)"),
        ("training.steps", "is no override; write the path of a setting and its value, such as training.steps=50"),
        ("training.steps=[1", "training.steps: is not YAML: expected ',' or ']', but got '<stream end>'"),
        ("data.sources.docs.part.x=1", "data.sources.docs.part: should be a mapping, for data.sources.docs.part.x is"),
        ("model.decoder=hf_" + 40 * "a", "model.decoder: holds a password or key"),
    ],
)
def test_an_override_that_is_none_is_refused(write, argument, fault):
    [said] = faults(write(RUN), argument)
    assert said.startswith(fault)


def test_a_setting_of_a_run_is_found_below_run_of_a_sweep(write):
    [said] = faults(write(SWEEP), "training.steps=50")
    assert "did you mean run.training.steps?" in said


def test_keys_that_are_paths_are_kept_whole_wherever_a_sweep_holds_such(write):
    points = "search: {start_with: [{objective.rate: 0.4}]}\nexclude: [{objective.rate: 0.4}]\n"
    given = tree(
        write(f"{SWEEP}{points}promote: {{with: {{seed: 1}}}}\n"),
        "search.start_with.0.model.concepts=4",
        "exclude.0.model.concepts=8",
        "promote.with.training.steps=500",
        "promote.scale={model.concepts: 2}",
    )
    assert given["search"]["start_with"] == [{"objective.rate": 0.4, "model.concepts": 4}]
    assert given["exclude"] == [{"objective.rate": 0.4, "model.concepts": 8}]
    assert given["promote"] == {"with": {"seed": 1, "training.steps": 500}, "scale": {"model.concepts": 2}}
