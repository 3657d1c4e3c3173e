"""The notebook: every entry once, newest first, and only what compares is set side by side."""

import pytest
from corpora import tiny_run

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
from cogito_ray.records.notebook import write
from cogito_ray.records.provenance import Provenance
from cogito_ray.run import RunSpec

NATS = "eval/reconstruction_nats"


@pytest.fixture
def storage(tmp_path):
    """Writes ledgers of one completed trial each into one storage, whose folder it returns."""
    tree = tiny_run(tmp_path)

    def written(**changes):
        for at, (name, changed) in enumerate(changes.items()):
            run = RunSpec.model_validate(tree | changed)
            spec = {"name": name, "question": f"{name}?", "goals": [{"metric": NATS, "mode": "min"}], "space": {}}
            origin = Provenance(commit="abc", dirty=False, versions={}, host="h")
            with Ledger(tmp_path / "runs" / name / NAME) as ledger:
                ledger.append(SweepOpened(at=at, spec=spec, sweep=name, provenance=origin))
                ledger.append(TrialStarted(at=at, trial="t", number=0, sample={}, spec=run.model_dump(mode="json")))
                ledger.append(Reported(trial="t", step=10, seconds=1, metrics={NATS: 5.0 + at}))
                ledger.append(TrialEnded(at=at, trial="t", status="completed", step=10))
                ledger.append(SweepClosed(at=at, cause=COMPLETE))
        return tmp_path / "runs"

    return written


def entries(page):
    return {part.split("\n")[0]: part for part in page.read_text().split("\n## ")[1:]}


def test_entries_stand_newest_first_with_their_question_and_outcome(storage):
    told = entries(write(storage(one={}, two={})))
    assert list(told) == ["two", "one"]
    assert "one?" in told["one"]
    assert f"{NATS} is 5.000" in told["one"]


def test_only_entries_measured_alike_may_be_compared(storage):
    told = entries(write(storage(one={}, two={"seed": 3}, other={"evaluation": {"rows": 7}})))
    assert "may be compared with [two](#two)\n" in told["one"]
    assert "may be compared with [one](#one)\n" in told["two"]
    assert "may be compared with no other" in told["other"]


def test_a_damaged_ledger_is_named_and_the_others_are_told(storage):
    runs = storage(one={}, two={})
    (runs / "two" / NAME).write_text("no ledger\n{}\n")
    told = entries(write(runs))
    assert "Cannot be read" in told["two"]
    assert "5.000" in told["one"]


def test_what_was_spent_is_said_in_tokens(storage):
    training = {"training": {"batch": 6, "steps": 10}}
    told = entries(write(storage(one=training)))
    assert "trial 0 read 960 tokens" in told["one"]  # 10 steps of 6 rows of 16
