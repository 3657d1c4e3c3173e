"""The command line as a user meets it, without Ray."""

import errno
import json
import os
import re
import signal
import sys
import threading
from importlib.metadata import version
from pathlib import Path

import pytest

from cogito_ray.atomic_files import WAYS_OUT
from cogito_ray.cli import main
from cogito_ray.commands.final_summary import summarise
from cogito_ray.display.console import err
from cogito_ray.display.live_view import watching
from cogito_ray.python_api import load, write_pages
from cogito_ray.records.ledger import (
    COMPLETE,
    NAME,
    Ledger,
    Reported,
    SweepClosed,
    SweepOpened,
    TrialEnded,
    TrialStarted,
)
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.sweep_record import SharedRecord, read

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


def test_a_sound_sweep_says_which_share_of_its_ranges_is_no_valid_run(cogito_ray, tmp_path):
    file = tmp_path / "ranges.yaml"
    width = "  model.width: {randint: [120, 136], step: 4}\n  objective.rate:"
    ranges = QUICKSTART.read_text().partition("# A full run")[0].replace("  objective.rate:", width)
    file.write_text(ranges.replace("    width: 128\n", "").replace("heads: 4", "heads: 8"))
    status, said, _ = cogito_ray("check", file)
    assert status == 0
    assert re.search(r"\n  note: \d+ of 256 points drawn from the space are no valid runs, and a sampler that", said)
    [verdict] = json.loads(cogito_ray("check", file, "--json")[1])
    assert len(verdict["notes"]) == 1


def test_a_setting_of_the_base_run_that_no_trial_has_is_noted_unless_it_is_inherited(cogito_ray, tmp_path):
    file = tmp_path / "idle.yaml"
    file.write_text(QUICKSTART.read_text().replace("    width: 128\n", "    width: 128\n    concepts: 16\n"))
    status, told, _ = cogito_ray("check", file)
    assert (status, told.count("note:")) == (0, 1)
    note = "run.model.concepts: no trial has what stands here, for space.model.concepts sets it in each; leave it out"
    assert f"  note: {note} (line 14)\n" in told
    (tmp_path / "heir.yaml").write_text("extends: idle.yaml\nname: heir\n")
    assert "note:" not in cogito_ray("check", tmp_path / "heir.yaml")[1]


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


def test_settings_are_overridden_in_every_file_that_is_checked_and_faults_name_the_argument(cogito_ray):
    other = ROOT / "search_spaces" / "wikipedia.yaml"
    first, second = json.loads(cogito_ray("check", QUICKSTART, other, "budget.trials=7", "--json")[1])
    assert (first["trials"], second["trials"]) == (7, 7)
    status, said, _ = cogito_ray("sweep", QUICKSTART, "run.training.stepz=50", "--json")
    assert status == 2
    assert json.loads(said)["faults"] == [
        "run.training.stepz: there is no such setting here; did you mean steps? (argument run.training.stepz=50)"
    ]


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
    status, _, complaints = cogito_ray("train", DEBUG, "workers=40", "--storage", tmp_path)
    assert status == 2
    assert "training.batch 32 cannot be shared by 40 workers" in complaints
    assert "set training.micro_batch" in complaints


LOST = {
    "data.sources.library.path": ("library: {kind: python-docs", "library: {kind: files, path: /nowhere/at/all}  #"),
    "evaluation.stsb": ("  training:", "  evaluation: {stsb: /nowhere/at/all}\n  training:"),
    "run.start_from.folder": (
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


SAMPLE = {"objective": "[/low]"}
SPACE = {"objective": {"choice": ["[/low]", "other"]}}


def opened(folder):
    """A ledger in `folder` of a complete sweep of one trial."""
    spec = {"name": folder.name, "goals": [{"metric": "loss/total", "mode": "min"}], "space": SPACE}
    origin = Provenance(commit=None, dirty=False, versions={}, host="h")
    with Ledger(folder / NAME) as ledger:
        ledger.append(SweepOpened(at=0, spec=spec, sweep="s", provenance=origin))
        ledger.append(TrialStarted(at=0, trial="t", number=0, sample=SAMPLE, spec=SAMPLE))
        ledger.append(Reported(trial="t", step=1, seconds=1, metrics={"loss/total": 1.0}))
        ledger.append(TrialEnded(at=1, trial="t", status="completed", step=1))
        ledger.append(SweepClosed(at=1, cause=COMPLETE))
    return folder


def a_file_for_a_folder(tmp_path):
    (file := tmp_path / "file").write_text("")
    return ["report", file], f"{file}/ledger.jsonl: Not a directory", "give a folder"


def a_file_for_schemas(tmp_path):
    (file := tmp_path / "file").write_text("")
    return ["check", DEBUG, "--schema", file], f"{file}: File exists", "give another path"


def a_file_for_the_storage(tmp_path):
    (file := tmp_path / "file").write_text("")
    return ["sweep", QUICKSTART, "--storage", file], f"{file}/", "give a folder"


def a_folder_for_the_ledger(tmp_path):
    (ledger := tmp_path / NAME).mkdir()
    return ["report", tmp_path], f"{ledger}: Is a directory", "give another path"


def a_link_that_leads_to_itself(tmp_path):
    (ledger := tmp_path / NAME).symlink_to(NAME)
    return ["report", tmp_path], f"{ledger}: Too many levels of symbolic links", "link"


ODD = [a_file_for_a_folder, a_file_for_schemas, a_file_for_the_storage, a_folder_for_the_ledger]
ODD += [a_link_that_leads_to_itself]


@pytest.mark.parametrize("odd", ODD)
def test_a_path_that_cannot_be_used_is_told_with_its_place_and_a_way_out(cogito_ray, tmp_path, odd):
    arguments, place, way_out = odd(tmp_path)
    status, _, complaints = cogito_ray(*arguments)
    assert (status, len(complaints.splitlines())) == (2, 1)
    assert complaints.startswith(place)
    assert way_out in complaints


@pytest.fixture
def as_nobody():
    """Without the rights of root, whom no mode keeps out."""
    before = os.geteuid()
    os.seteuid(65534 if before == 0 else before)
    yield
    os.seteuid(before)


def test_a_ledger_that_may_not_be_read_is_told_with_a_way_out(cogito_ray, tmp_path, request):
    ledger = opened(tmp_path) / NAME
    ledger.chmod(0)
    request.getfixturevalue("as_nobody")
    status, _, complaints = cogito_ray("report", tmp_path)
    assert (status, complaints) == (2, f"{ledger}: Permission denied; {WAYS_OUT[errno.EACCES]}\n")


def test_a_page_for_which_there_is_no_room_is_told_and_leaves_nothing_behind(cogito_ray, tmp_path, request):
    opened(tmp_path)
    request.getfixturevalue("little_room")
    status, _, complaints = cogito_ray("report", tmp_path)
    assert (status, complaints.split(":")[0]) == (2, str(tmp_path / "report.html"))
    assert [file.name for file in tmp_path.iterdir()] == [NAME]


def test_a_finished_sweep_stays_finished_where_the_notebook_cannot_be_written(tmp_path, capsys):
    (tmp_path / "notebook.md").mkdir()
    folder = opened(tmp_path / "sweep")
    write_pages(read(folder / NAME), folder)
    summarise(load(folder), as_json=False)
    said = capsys.readouterr()
    assert "Winner: trial t" in said.out
    assert (tmp_path / "sweep" / "winner.yaml").exists()
    assert said.err.startswith(f"the notebook was not written: {tmp_path}/notebook.md: Is a directory")


@pytest.mark.parametrize("name", ["[/low]", "lr[low]", "[bold]", ":smile:", "[link=http://h]x[/link]"])
def test_names_are_shown_as_they_are(tmp_path, capsys, name):
    """In tables, in lines, on both streams."""
    folder = opened(tmp_path / "sweep")
    ledger = folder / NAME
    ledger.write_text(ledger.read_text().replace('"[/low]"', json.dumps(name)))
    summarise(load(folder), as_json=False)
    table, said = capsys.readouterr().out.split("Winner:")
    assert name in table
    assert f"objective: {name}" in said
    err.print(name)
    assert capsys.readouterr().err == f"{name}\n"


def fail_after_writing(ledger, content):
    with watching(SharedRecord(ledger), quiet=False):
        ledger.write_text(content)
        raise OSError(errno.ENOSPC, "full")


def test_trials_that_ended_are_told_before_the_fault_that_ends_the_command(tmp_path, capsys):
    ledger = opened(tmp_path) / NAME
    whole = ledger.read_text()
    ledger.write_text("".join(whole.splitlines(keepends=True)[:3]))
    with pytest.raises(OSError, match="full"):
        fail_after_writing(ledger, whole)
    assert "trial t completed at step 1" in capsys.readouterr().out


def test_what_a_folder_lacks_to_be_a_sweeps_is_said(cogito_ray, tmp_path):
    status, _, complaints = cogito_ray("report", tmp_path / "nobody")
    assert status == 2
    assert complaints.startswith(f"{tmp_path / 'nobody'}: holds no ledger.jsonl, as folders of sweeps and runs do; ")


def test_every_refusal_as_json_is_one_object_with_its_faults(cogito_ray, faulty, tmp_path):
    typo = DEBUG.read_text().replace("batch: 32", "batch: true")
    (tmp_path / "typo.yaml").write_text(typo)
    (tmp_path / "alone.yaml").write_text(QUICKSTART.read_text().partition("# A full run")[0])
    for arguments, fault in [
        (["sweep", faulty], "goals.0.mode: 'lowest' is not known here; write one of min, max (line 33)"),
        (["train", tmp_path / "typo.yaml"], "training.batch: should be a whole number; got true (line 18)"),
        (["train", DEBUG, "workers=40"], "training.batch 32 cannot be shared by 40 workers"),
        (["train", QUICKSTART], "describes a sweep; run it: cogito-ray sweep"),
        (["train", DEBUG, "--name", "../x"], "--name: '../x' does not fit: a name has 1 to 64 letters"),
        (["prepare", tmp_path / "none.yaml"], "cannot be read: No such file or directory"),
        (["evaluate", tmp_path], str(tmp_path)),
        (["promote", tmp_path / "alone.yaml", "--storage", tmp_path], "does not say what to promote"),
        (["sweep", QUICKSTART, "--colour"], "No such option: --colour"),
        (["sweep"], "Missing argument 'file'"),
    ]:
        status, said, complaints = cogito_ray(*arguments, "--json")
        assert status == 2
        assert complaints
        assert any(fault in line for line in json.loads(said)["faults"]), said


@pytest.mark.parametrize("name", ["../x", "a/b", "tokens", "Tokenizers", "corpora", "notebook.md", "verify", "", "-x"])
def test_a_run_is_given_no_name_of_the_storages_own_and_none_that_leads_elsewhere(cogito_ray, name, tmp_path):
    status, _, complaints = cogito_ray("train", DEBUG, f"--name={name}", "--storage", tmp_path)
    assert status == 2
    assert complaints.startswith("--name: ")
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_is_read_once(cogito_ray, tmp_path):
    reading, writing = os.pipe()
    os.write(writing, DEBUG.read_bytes())
    os.close(writing)
    status, said, _ = cogito_ray("check", f"/dev/fd/{reading}")
    os.close(reading)
    assert (status, said) == (0, f"/dev/fd/{reading}: a sound run (reconstruction)\n")


def test_where_one_file_breaks_the_command_the_others_are_judged_nevertheless(monkeypatch, capsys, faulty, tmp_path):
    """It fails as nobody foresaw: a pipe into which nothing is written, and a signal as soon as it is read."""
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(sys, "argv", ["cogito-ray", "check", str(faulty), str(tmp_path / "pipe"), str(DEBUG), "--json"])
    former = signal.signal(signal.SIGUSR1, _break)
    impatience = threading.Thread(target=_break_the_reader, args=(tmp_path / "pipe",))
    impatience.start()
    with pytest.raises(RuntimeError, match="nobody writes there"):
        main()
    impatience.join()
    signal.signal(signal.SIGUSR1, former)
    first, broken, last = json.loads(capsys.readouterr().out)
    assert (len(first["faults"]), last["kind"]) == (3, "run")
    assert "cogito-ray itself failed" in broken["faults"][0]


def _break_the_reader(pipe):
    writing = os.open(pipe, os.O_WRONLY)  # waits for a reader
    os.kill(os.getpid(), signal.SIGUSR1)
    os.close(writing)


def _break(*_):
    raise RuntimeError("nobody writes there")


def test_a_task_or_protocol_that_is_none_is_told_with_the_nearest(cogito_ray, tmp_path):
    for option, given, fault in [
        ("--tasks", "stsb, sts-b", "tasks.1: no task is called sts-b; did you mean stsb?"),
        ("--tasks", "stsb,", "tasks.1: no task is called ''; write one of mrpc, mrpc-test,"),
        ("--plugin", "no_such_tasks.py", "plugins.0: "),
        ("--protocol", "probe,zero_shot", "protocols.1: 'zero_shot' is not known here; did you mean zero-shot?"),
    ]:
        status, _, complaints = cogito_ray("evaluate", tmp_path, option, given)
        assert status == 2
        assert complaints.startswith(fault)


def test_text_that_is_missing_is_refused_before_ray_starts(cogito_ray, tmp_path, monkeypatch):
    lost = DEBUG.read_text().replace("{kind: python-docs, part: library", "{kind: files, path: /nowhere")
    (tmp_path / "lost.yaml").write_text(lost)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # where none answers
    status, _, complaints = cogito_ray("prepare", tmp_path / "lost.yaml", "--storage", tmp_path / "runs")
    assert status == 2
    assert "data.sources.library.path: '/nowhere' cannot be listed" in complaints
    assert "(line 4)" in complaints
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("odd", ["\x1b[31m", "\x07", "\x9b31m", "\u202e", "\r"])
def test_control_characters_are_shown_and_not_obeyed(cogito_ray, tmp_path, capsys, odd):
    """In names of files and in what a ledger says, also in tables."""
    (named := tmp_path / f"a{odd}b.yaml").write_text("3")
    assert odd not in cogito_ray("check", named)[2]
    ledger = opened(tmp_path / "sweep") / NAME
    ledger.write_text(ledger.read_text().replace('"[/low]"', json.dumps(f"low{odd}")))
    summarise(load(ledger.parent), as_json=False)
    said = capsys.readouterr().out
    assert "low" in said
    assert odd not in said


@pytest.mark.parametrize("project", ["", "a/b", "https://me:hunter2@host", "x" * 129, "a\nb"])
def test_what_is_no_project_is_not_sent_and_not_repeated(cogito_ray, tmp_path, project):
    status, _, complaints = cogito_ray("publish", opened(tmp_path / "sweep"), f"--project={project}")
    assert (status, "hunter2" in complaints) == (2, False)
    assert complaints.startswith("--project: a project of Weights & Biases has")
    assert [file.name for file in (tmp_path / "sweep").iterdir()] == [NAME]


def test_a_version_and_short_help_are_there(cogito_ray):
    assert cogito_ray("--version")[:2] == (0, f"cogito-ray {version('cogito-ray')}\n")
    assert cogito_ray("sweep", "-h")[0] == 0
    assert "--install-completion" in cogito_ray("--help")[1]


def test_what_ends_at_once_is_told_however_late_the_telling_begins(tmp_path, capsys, monkeypatch):
    """On a busy machine a thread may start after all is over."""
    ledger = opened(tmp_path) / NAME
    whole = ledger.read_text()
    ledger.write_text("".join(whole.splitlines(keepends=True)[:3]))
    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda thread: (ledger.write_text(whole), start(thread)))
    with watching(SharedRecord(ledger), quiet=False):
        pass
    assert "trial t completed at step 1" in capsys.readouterr().out
