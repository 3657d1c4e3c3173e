"""One tree of several texts: what a file extends, and the file itself over it."""

import pytest

from cogito_ray.sweeps.space.validation_messages import SweepFault
from cogito_ray.sweeps.yaml_io.yaml_composition import compose
from cogito_ray.sweeps.yaml_io.yaml_loader import Document, load
from cogito_ray.sweeps.yaml_io.yaml_writer import dump

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
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return written


def faults(file):
    with pytest.raises(SweepFault) as refused:
        Document.read(file).either()
    return refused.value.faults


def tree(file):
    return compose(file).tree


def test_mappings_are_merged_and_all_else_is_replaced(write):
    write("a: {x: 1, y: {z: 2}}\nlist: [1, 2]\nkept: 3\n", "base.yaml")
    given = tree(write("extends: base.yaml\na: {y: {w: 4}, x: 5}\nlist: [6]\n"))
    assert given == {"a": {"x": 5, "y": {"z": 2, "w": 4}}, "list": [6], "kept": 3}


def test_of_several_files_the_later_one_counts(write):
    write("question: one\nname: base", "one.yaml")
    write("question: two", "two.yaml")
    assert tree(write("extends: [one.yaml, two.yaml]\n")) == {"question": "two", "name": "base"}


def test_a_file_that_is_extended_may_extend_another_from_its_own_folder(write):
    write("question: why\n", "shared/most.yaml")
    write("extends: ../shared/most.yaml\nname: base\n", "proxies/base.yaml")
    assert tree(write("extends: proxies/base.yaml\n")) == {"question": "why", "name": "base"}


def test_a_link_to_an_extended_file_is_followed(write, tmp_path):
    write("question: why\n", "elsewhere/base.yaml")
    (tmp_path / "base.yaml").symlink_to("elsewhere/base.yaml")
    assert tree(write("extends: base.yaml\n")) == {"question": "why"}


def test_another_kind_and_another_domain_replace_the_inherited_whole(write):
    write(SWEEP.replace("{kind: position}", "{kind: position, depth: 2}"), "base.yaml")
    own = "extends: base.yaml\nrun: {model: {decoder: {kind: perceiver}}}\nspace: {objective.rate: {choice: [0.5]}}\n"
    given = tree(write(own))
    assert given["run"]["model"] == {"width": 64, "decoder": {"kind": "perceiver"}}
    assert given["space"] == {"objective.rate": {"choice": [0.5]}, "model.concepts": {"choice": [4, 8]}}
    same = tree(write(own.replace("{kind: perceiver}", "{depth: 3}")))
    assert same["run"]["model"]["decoder"] == {"kind": "position", "depth": 3}


def test_null_takes_out_an_inherited_key_that_cannot_be_null(write):
    write(SWEEP, "base.yaml")
    given = tree(write("extends: base.yaml\nspace: {model.concepts: null}\nrun: {loss: {contrast: null}}\n"))
    assert list(given["space"]) == ["objective.rate"]
    assert given["run"]["loss"] == {"contrast": None}
    write(RUN, "run.yaml")
    assert "steps" not in tree(write("extends: run.yaml\ntraining: {steps: null}\n"))["training"]
    assert tree(write("extends: run.yaml\nmodel: {decoder: null}\n"))["model"]["decoder"] is None


def test_null_takes_out_an_inherited_source_so_that_others_stand_in_its_place(write):
    write(SWEEP, "base.yaml")
    own = write("extends: base.yaml\nrun: {data: {sources: {docs: null, mine: {kind: files, path: mine}}}}\n")
    assert tree(own)["run"]["data"] == {"sources": {"mine": {"kind": "files", "path": "mine"}}, "length": 32}
    [fault] = faults(write("extends: base.yaml\nrun: {data: {sources: {doks: null}}}\n"))
    assert fault.startswith("run.data.sources.doks: ")


def test_a_fault_is_told_where_it_was_written(write):
    base = write(SWEEP.replace("64", "wide").replace("[4, 8]", "[]"), "proxies/base.yaml")
    said = faults(write("extends: proxies/base.yaml\nname: other\n\nbudget: {trials: 0}\n"))
    assert [line.rpartition(" (")[2] for line in said] == [f"line 8 of {base})", "line 4)"]
    said = faults(write("extends: proxies/base.yaml\nspace: {model.concepts: {choice: [4]}}\n"))
    assert said == [f"run.model.width: should be a whole number; got 'wide' (line 4 of {base})"]


def test_a_sweep_extends_the_file_of_a_run_where_it_has_its_run(write):
    base = write(RUN.replace("steps: 100", "steps: lots"), "base.yaml")
    mine = write("name: mine\nrun: {extends: base.yaml, model: {width: 32}}\n")
    assert tree(mine) == {"name": "mine", "run": tree(base) | {"model": {"width": 32, "decoder": {"kind": "position"}}}}
    said = faults(write("run: {extends: base.yaml}\n" + SWEEP.replace("run:", "question:").partition("run:")[0]))
    assert f"run.training.steps: should be a whole number; got 'lots' (line 4 of {base})" in said


def test_a_file_of_the_other_sort_is_not_extended(write, tmp_path):
    write(RUN, "run.yaml")
    write(SWEEP, "sweep.yaml")
    for text, fault in [
        ("name: mine\nextends: run.yaml", "run.yaml describes a run; extend it where a sweep has its run"),
        ("name: mine\nrun: {extends: sweep.yaml}", "sweep.yaml describes a sweep; extend it outside of run (line 2)"),
        ("seed: 3\nextends: sweep.yaml", "sweep.yaml describes a sweep, and this file a run; extend the file of a run"),
    ]:
        [said] = faults(write(text))
        assert fault in said


def test_an_extended_file_that_is_no_yaml_is_named_itself(write):
    base = write("a: [", "base.yaml")
    with pytest.raises(SweepFault) as refused:
        compose(write("extends: base.yaml"))
    assert refused.value.file == base


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("extends: none.yaml", "extends: {folder}/none.yaml is no file; write its path from the folder of file.yaml"),
        ("extends: [base.yaml, 3]", "extends.1: takes the path of a YAML file, or a list of such; got 3"),
        ("extends:", "extends: takes the path of a YAML file, or a list of such; got null"),
        ("extends: file.yaml", "extends: a circle: file.yaml -> file.yaml; take one of them out"),
    ],
)
def test_what_cannot_be_extended_is_refused_with_its_line(write, tmp_path, text, fault):
    write("question: why", "base.yaml")
    [said] = faults(write(text))
    assert said.startswith(fault.format(folder=tmp_path))
    assert said.endswith("(line 1)")


def test_a_circle_of_files_is_told_in_order(write):
    write("extends: two.yaml", "one.yaml")
    write("extends: one.yaml", "two.yaml")
    assert faults(write("extends: one.yaml")) == [
        "extends: a circle: one.yaml -> two.yaml -> one.yaml; take one of them out (line 1)"
    ]


def test_too_many_files_that_extend_each_other_are_refused(write):
    for number in range(12):
        write(f"extends: {number + 1}.yaml", f"{number}.yaml")
    write("question: why", "12.yaml")
    assert "more than 8 files extend each other" in faults(write("extends: 0.yaml"))[0]


def test_what_a_sweep_records_of_itself_changes_with_the_file_that_it_extends(write):
    base, file = write(SWEEP, "base.yaml"), write("extends: base.yaml\nname: mine\n")
    before = load(file)
    base.write_text(SWEEP.replace("width: 64", "width: 32"))
    assert load(file).identity() != before.identity()
    assert load(write(dump(before.model_dump(mode="json", exclude_unset=True)), "recorded.yaml")) == before
