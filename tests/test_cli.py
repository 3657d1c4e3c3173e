"""The command line as a user meets it, without Ray."""

import json
import sys
from pathlib import Path

import pytest

from cogito_ray.cli import main

ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "search_spaces" / "quickstart.yaml"
DEBUG = ROOT / "jobs" / "debug.yaml"


@pytest.fixture
def cogito_ray(monkeypatch, capsys):
    """Calls the command line: (exit status, standard output, standard error)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["cogito-ray", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return end.value.code, said.out, said.err

    return call


@pytest.fixture
def faulty(tmp_path):
    """The quickstart with three mistakes."""
    text = QUICKSTART.read_text().replace("objective.rate:", "objective.rat:").replace("mode: min", "mode: lowest")
    file = tmp_path / "faulty.yaml"
    file.write_text(text + "colour: red\n")
    return file


def test_sound_files_are_told_apart_and_counted(cogito_ray):
    status, said, _ = cogito_ray("check", QUICKSTART, DEBUG)
    assert status == 0
    assert "a sound sweep of 12 trials over 4 axes" in said
    assert f"{DEBUG}: a sound run (reconstruction)" in said


def test_a_bad_file_ends_with_status_2_and_its_faults_by_place(cogito_ray, faulty):
    status, said, complaints = cogito_ray("check", faulty)
    assert (status, said) == (2, "")
    assert f"{faulty}: 3 faults" in complaints
    assert "goals.0.mode" in complaints
    assert "colour" in complaints


def test_an_unknown_path_is_refused_with_what_was_meant(cogito_ray, tmp_path):
    file = tmp_path / "typo.yaml"
    file.write_text(QUICKSTART.read_text().replace("objective.rate:", "objective.rat:"))
    status, _, complaints = cogito_ray("check", file)
    assert status == 2
    assert "space.objective.rat: there is no such setting in a run" in complaints
    assert "objective.rate" in complaints


def test_check_as_json_gives_one_verdict_per_file(cogito_ray, faulty):
    status, said, _ = cogito_ray("check", QUICKSTART, faulty, "--json")
    sound, bad = json.loads(said)
    assert status == 2
    assert (sound["kind"], sound["trials"], sound["faults"]) == ("sweep", 12, [])
    assert len(bad["faults"]) == 3


def test_check_writes_schemas_that_know_the_settings(cogito_ray, tmp_path):
    cogito_ray("check", QUICKSTART, "--schema", tmp_path / "schemas")
    sweep, run = (json.loads((tmp_path / "schemas" / f"{name}.schema.json").read_text()) for name in ("sweep", "run"))
    assert {"name", "run", "space", "goals", "budget"} <= set(sweep["properties"])
    assert {"data", "model", "objective", "training"} <= set(run["properties"])


@pytest.mark.parametrize(("command", "file", "way_out"), [("sweep", DEBUG, "train"), ("train", QUICKSTART, "sweep")])
def test_a_file_of_the_other_sort_is_refused_with_the_right_command(cogito_ray, command, file, way_out, tmp_path):
    status, _, complaints = cogito_ray(command, file, "--storage", tmp_path)
    assert status == 2
    assert f"cogito-ray {way_out} {file}" in complaints


def test_more_workers_than_rows_are_refused_with_a_way_out(cogito_ray, tmp_path):
    status, _, complaints = cogito_ray("train", DEBUG, "--workers", 40, "--storage", tmp_path)
    assert status == 2
    assert complaints.startswith("training.batch 32 cannot be shared by 40 workers")
    assert "set training.micro_batch" in complaints


LOST = {
    "data.sources.library.path": ("library: {kind: python-docs", "library: {kind: files, path: /nowhere/at/all}  #"),
    "evaluation.stsb": ("  training:", "  evaluation: {stsb: /nowhere/at/all}\n  training:"),
    "missing or torn": (
        "  training:",
        "  start_from: {kind: checkpoint, folder: /nowhere/at/all, parts: [encoder]}\n  training:",
    ),
}


@pytest.mark.parametrize(("named", "change"), LOST.items(), ids=["text", "evaluation", "start"])
def test_what_is_missing_is_refused_before_anything_is_written(cogito_ray, tmp_path, named, change):
    file = tmp_path / "lost.yaml"
    file.write_text(QUICKSTART.read_text().replace(*change))
    status, _, complaints = cogito_ray("sweep", file, "--storage", tmp_path)
    assert status == 2
    assert named in complaints
    assert "/nowhere/at/all" in complaints
    assert list(tmp_path.iterdir()) == [file]


def test_a_report_of_no_sweep_is_refused(cogito_ray, tmp_path):
    status, _, complaints = cogito_ray("report", tmp_path)
    assert status == 2
    assert "ledger.jsonl" in complaints


def test_every_command_shows_an_example(cogito_ray):
    for command in ("check", "prepare", "promote", "train", "sweep", "evaluate", "report"):
        status, said, _ = cogito_ray(command, "--help")
        assert status == 0
        assert f"Example: cogito-ray {command} " in said
