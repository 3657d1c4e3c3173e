"""Sweeps and runs from YAML: faults with their lines, plain scalars, differences."""

import pytest
import yaml

from cogito_ray.sweeps.space.validation_messages import SweepFault
from cogito_ray.sweeps.yaml_io.yaml_loader import load, load_run
from cogito_ray.sweeps.yaml_io.yaml_parser import value_of
from cogito_ray.sweeps.yaml_io.yaml_writer import diff, dump, inline

SWEEP = """\
name: tiny
run:
  data: {sources: {docs: {kind: python-docs, part: library}}, length: 32}
  model: {width: 64, decoder: {kind: position}}
  objective: {kind: tsdae}
  training: {steps: 100, optimizer: {learning_rate: 1e-3}}
space:
  objective.rate: {uniform: [0.3, 0.9]}
goals: [{metric: eval/reconstruction_nats, mode: min}]
budget: {trials: 6}
"""


@pytest.fixture
def write(tmp_path):
    def written(text):
        path = tmp_path / "sweep.yaml"
        path.write_text(text)
        return path

    return written


def refusal(path):
    with pytest.raises(SweepFault) as fault:
        load(path)
    return str(fault.value).splitlines()


def test_numbers_without_a_dot_are_numbers(write):
    assert load(write(SWEEP)).run["training"]["optimizer"]["learning_rate"] == 1e-3


def test_faults_are_counted_and_carry_their_line(write):
    first, *others = refusal(write(SWEEP.replace("name: tiny", "name: ..").replace("6}", "0}")))
    assert first.endswith("sweep.yaml: 2 faults")
    assert [line.rpartition(" (")[2] for line in others] == ["line 1)", "line 10)"]


def test_what_is_wrong_in_itself_and_what_does_not_fit_are_told_together(write):
    text = SWEEP.replace("mode: min", "mode: lowest").replace("6}", "0}").replace("objective.rate", "objective.rat")
    _, *others = refusal(write(text + "colour: red\n"))
    assert sorted(line.split(":")[0].strip() for line in others) == [
        "budget.trials", "colour", "goals.0.mode", "space.objective.rat",
    ]  # fmt: skip


def test_nothing_is_said_of_what_only_follows_from_a_faulty_part(write):
    grid = SWEEP.replace("uniform: [0.3, 0.9]", "choice: [0.3, 0.9]").replace("6}", "2}")
    _, *others = refusal(write(grid + "search: {sampler: grid, seeds: 1}\n"))
    assert [line.split(":")[0].strip() for line in others] == ["search.seeds"]


def test_a_fault_of_every_corner_stands_at_its_line_under_run(write):
    _, line = refusal(write(SWEEP.replace("width: 64", "widht: 64")))
    assert line == "  run.model.widht: there is no such setting here; did you mean width? (line 4)"


def test_a_domains_fault_is_told_without_inner_names(write):
    _, line = refusal(write(SWEEP.replace("[0.3, 0.9]", "[0.3, high]")))
    assert line.startswith("  space.objective.rate.uniform.1: should be a number; got 'high'")
    assert line.endswith("(line 8)")


def test_a_key_that_stands_twice_is_refused_with_both_lines(write):
    _, line = refusal(write(SWEEP + "name: other\n"))
    assert line == "  name: stands twice, at lines 1 and 11; keep one"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name: [", "is not YAML"),
        ("", "holds no mapping of settings"),
        ("- 1\n", "holds no mapping of settings"),
    ],
)
def test_a_file_that_is_no_settings_is_refused(write, text, fault):
    assert fault in refusal(write(text))[1]


def test_a_missing_file_is_named(tmp_path):
    name = tmp_path / "none.yaml"
    assert refusal(name) == [f"{name}: 1 fault", "  cannot be read: No such file or directory"]


def test_a_run_is_read_alike(write):
    run = load_run(write("\n".join(line[2:] for line in SWEEP.splitlines()[2:6])))
    assert run.training.steps == 100


def test_a_run_written_by_dump_reads_back_equal(write):
    run = load(write(SWEEP)).trial({"objective.rate": 0.5})
    assert load_run(write(dump(run.model_dump(mode="json")))) == run


def test_words_of_yaml_1_1_stay_words_and_references_work(write):
    text = SWEEP.replace("name: tiny", "name: tiny\nquestion: on").replace("model: {", "model: &base {")
    assert load(write(text)).question == "on"


@pytest.mark.parametrize("text", ["1e3", "12345e678901", "-.5", "08", "true", "~", "null", "", "0x1f", "1_000", "yes"])
def test_text_that_looks_like_something_else_is_read_back_as_text(text):
    assert value_of(dump({"name": text})) == {"name": text}
    assert value_of(inline({"name": [text]})) == {"name": [text]}


def test_dump_is_plain_yaml():
    tree = {"a": {"b": [1, 2.5, None], "c": "x: y"}, "d": [{"e": True}]}
    assert yaml.safe_load(dump(tree)) == tree


def test_diff_names_every_setting_that_differs():
    old = {"name": "a", "budget": {"trials": 6}, "space": {"x": {"choice": [1, 2]}}, "question": "why"}
    new = {"name": "a", "budget": {"trials": 9}, "space": {"y": {"grid": [None]}}, "question": "why"}
    assert diff(old, new) == [
        "budget.trials: 6 -> 9",
        "space.x: {choice: [1, 2]} -> (absent)",
        "space.y: (absent) -> {grid: [null]}",
    ]
    assert diff(old, old) == []
