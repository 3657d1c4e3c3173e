"""What a sweep's command is told, and what it costs when it fails or hangs: a note."""

import time

import pytest
from ray.tune.experiment import Trial

from cogito_ray.runtime.trial_recorder import death, progress
from cogito_ray.runtime.tune import notification
from cogito_ray.runtime.tune.notification import Notifier


@pytest.fixture
def notifier(tmp_path):
    """One with this command, and what it notes."""

    def made(command):
        noted = []
        return Notifier(command, tmp_path / "mine", noted.append), noted

    return made


def test_a_command_is_told_what_happened_and_where(notifier, tmp_path):
    said = tmp_path / "said"
    told, noted = notifier(f'echo "$COGITO_OCCASION $COGITO_SWEEP $COGITO_TEXT $COGITO_FOLDER" > {said}')
    told.tell("end", "budget.wall; $(date) is spent")
    told.settle()
    assert said.read_text() == f"end mine budget.wall; $(date) is spent {tmp_path}/mine\n"
    assert [(event.occasion, event.fault) for event in noted] == [("end", "")]


@pytest.mark.parametrize(("last", "occasions"), [(death(40, "collapse at step 40"), ["guard"]), (progress(40, {}), [])])
def test_a_guards_verdict_is_told_and_no_other_end(notifier, last, occasions):
    told, noted = notifier("true")
    trial = Trial("trial", config={"trial": "abc", "number": 3, "run": {}}, stub=True)
    trial.run_metadata.last_result = last
    told.on_trial_complete(0, [], trial)
    told.settle()
    assert [event.occasion for event in noted] == occasions


def test_a_command_that_fails_costs_a_note_with_what_it_said(notifier):
    told, noted = notifier("echo no such host >&2; exit 3")
    told.tell("end", "complete")
    told.settle()
    assert noted[0].fault == "exit status 3: no such host\n"


def test_a_command_that_hangs_with_all_its_children_is_killed_and_nobody_waits_for_it_meanwhile(notifier, monkeypatch):
    monkeypatch.setattr(notification, "PATIENCE_S", 0.2)
    told, noted = notifier("sleep 60 | sleep 60")
    began = time.monotonic()
    told.tell("gate", "")
    assert time.monotonic() - began < 0.2
    told.settle()
    assert time.monotonic() - began < 5
    assert noted[0].fault == "took longer than 0.2 s and was killed"


def test_without_a_command_nothing_is_called(notifier):
    told, noted = notifier(None)
    told.tell("end", "complete")
    told.settle()
    assert noted == []
