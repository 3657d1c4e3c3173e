"""What is asked of sweeps from another process: who is meant, who would answer, and what is said where nobody would."""

import json
import sys
import time

import pytest

import cogito_ray as cr
from cogito_ray.cli import main
from cogito_ray.records.file_locks import hold
from cogito_ray.records.ledger import NAME, Ledger, Reported, SweepClosed, SweepOpened, TrialEnded, TrialStarted
from cogito_ray.records.provenance import Provenance
from cogito_ray.runtime.control_channel import DRIVER, REQUESTS
from cogito_ray.sweeps.yaml_io.overrides import sample_of

SPACE = {"objective.rate": {"uniform": [0.0, 1.0]}}


def opened(folder, space=SPACE):
    spec = {"name": folder.name, "goals": [{"metric": "loss/total", "mode": "min"}], "space": space}
    origin = Provenance(commit=None, dirty=False, versions={}, host="h")
    with Ledger(folder / NAME) as ledger:
        ledger.append(SweepOpened(at=time.time(), spec=spec | {"budget": {"trials": 9}}, sweep="s", provenance=origin))
        for number, name in enumerate(("abc123", "abd456", "7fe890")):
            run = {"training": {"steps": 10}}
            ledger.append(TrialStarted(at=time.time(), trial=name, number=number, sample={}, spec=run))
            ledger.append(Reported(trial=name, step=5, seconds=1, metrics={"loss/total": 1.0 + number}))
        ledger.append(TrialEnded(at=time.time(), trial="abc123", status="completed", step=10))
    return folder


@pytest.fixture
def driven(tmp_path):
    """The storage of a sweep whose driver lives, but answers nobody."""
    folder = opened(tmp_path / "mine")
    with hold(folder / DRIVER):
        (folder / DRIVER).write_text("process 1 on here\n")
        yield tmp_path


def test_nobody_is_asked_where_no_driver_lives(tmp_path):
    folder = opened(tmp_path / "mine")
    with pytest.raises(ValueError, match="no driver is alive, so nobody would answer"):
        cr.stop(1, run=folder)
    with Ledger(folder / NAME) as ledger:
        ledger.append(SweepClosed(at=time.time(), cause="complete"))
    with pytest.raises(ValueError, match=r"has ended \(complete\)"):
        cr.pause(run="mine", storage=tmp_path)
    assert not (folder / REQUESTS).exists()


def test_the_only_sweep_that_runs_is_meant_where_none_is_named(tmp_path, driven, monkeypatch):
    opened(tmp_path / "other")
    monkeypatch.setattr("cogito_ray.control.sweep_control.PATIENCE_S", 0.0)
    with pytest.raises(ValueError, match=f"{tmp_path}/mine: its driver did not answer within 0 s"):
        cr.concurrency(2, storage=driven)
    with hold(tmp_path / "other" / DRIVER), pytest.raises(ValueError, match=r"2 sweeps run in .*: mine, other; name"):
        cr.concurrency(2, storage=driven)
    with pytest.raises(ValueError, match="0 sweeps run"):
        cr.concurrency(2, storage=tmp_path / "mine")


def test_what_is_not_answered_in_time_is_withdrawn(driven, monkeypatch):
    monkeypatch.setattr("cogito_ray.control.sweep_control.PATIENCE_S", 0.3)
    with pytest.raises(ValueError, match="nothing was done"):
        cr.pause(storage=driven)
    assert list((driven / "mine" / REQUESTS).iterdir()) == []


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("abc124", r"no such trial; did you mean abc123\?"),
        ("ab", "several begin so"),
        (3, "no such trial; write one of 0 to 2"),
    ],
)
def test_a_trial_that_is_none_is_told_with_what_was_meant(driven, named, said):
    with pytest.raises(ValueError, match=said):
        cr.stop(named, storage=driven)


def test_a_run_on_its_own_is_told_how_it_is_paused(tmp_path):
    folder = opened(tmp_path / "alone", space={})
    with hold(folder / DRIVER), pytest.raises(ValueError, match="is a single run; Ctrl-C ends it"):
        cr.pause(run=folder)


def test_a_sweep_that_is_none_is_told_with_what_was_meant(driven):
    with pytest.raises(FileNotFoundError, match=r"no folder of a sweep or run.*did you mean mine"):
        cr.status("mime", storage=driven)


def test_a_status_says_who_works_how_far_it_is_and_who_runs_first(tmp_path, driven):
    opened(tmp_path / "dead")
    first, second = cr.status(storage=driven)
    assert (first.path.name, first.state, first.driver) == ("mine", "running", "process 1 on here")
    assert (second.path.name, second.state) == ("dead", "its driver was killed")
    assert first.progress.trials == {"running": 2, "waiting": 0, "queued": 6, "over": 1}


def test_a_status_is_read_by_people_and_by_scripts(driven, monkeypatch, capsys):
    said = []
    for arguments in (["mine"], ["--json"]):
        monkeypatch.setattr(sys, "argv", ["cogito-ray", "status", *arguments, "--storage", str(driven)])
        with pytest.raises(SystemExit):
            main()
        said.append(capsys.readouterr().out)
    assert "mine: running (process 1 on here)" in said[0]
    assert "2 running, 0 waiting, 6 queued, 1 over" in said[0]
    [told] = json.loads(said[1])
    assert (told["state"], told["trials"]["running"], told["budget"]["trials"]) == ("running", 2, [3, 9])
    assert [row["number"] for row in told["rows"]] == [0, 1, 2]


def test_a_point_is_values_or_a_file_of_them(tmp_path):
    (tmp_path / "point.yaml").write_text("model.concepts: 8\nobjective: tsdae\n")
    assert sample_of(["model.concepts=8", "objective = tsdae"]) == sample_of([str(tmp_path / "point.yaml")])
    with pytest.raises(ValueError, match=r"model.width: is no value of an axis"):
        sample_of(["model.concepts=8", "model.width"])
