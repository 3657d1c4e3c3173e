"""The sweep's checkpoints on disk are kept within their bytes, and the ledger says what went."""

import shutil

import pytest
from checkpoints import untrained

from cogito_ray.records.ledger import (
    NAME,
    CheckpointsPruned,
    Ledger,
    Reported,
    SweepOpened,
    TrialEnded,
    TrialStarted,
    events,
)
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.sweep_record import SharedRecord
from cogito_ray.runtime.tune.disk_quota_enforcement import CheckpointPruner, most_within_quota
from cogito_ray.sweeps.budget_spec import BudgetSpec, Spent
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.text.data_spec import corpus_key
from cogito_ray.text.preparation_plan import prepared

NATS = "eval/reconstruction_nats"


def sweep(folder, trials):
    """A ledger of trials (status or None, value), each with two checkpoints of 100 bytes below `folder`."""
    origin = Provenance(commit=None, dirty=False, versions={}, host="here")
    spec = {"goals": [{"metric": NATS, "mode": "min"}], "space": {}}
    ledger = Ledger(folder / NAME)
    ledger.append(SweepOpened(at=0.0, spec=spec, sweep="s", provenance=origin))
    for number, (status, value) in enumerate(trials):
        name = f"t{number}"
        ledger.append(TrialStarted(at=0.0, trial=name, number=number, sample={}, spec={"training": {"steps": 20}}))
        ledger.append(Reported(trial=name, step=20, seconds=1.0, metrics={NATS: value}))
        if status:
            ledger.append(TrialEnded(at=1.0, trial=name, status=status, step=20))
        for step in (10, 20):
            checkpoint = folder / "trials" / name / "checkpoints" / f"step-{step:08d}"
            checkpoint.mkdir(parents=True)
            (checkpoint / "model.safetensors").write_bytes(b"x" * 100)
    return ledger


def there(folder):
    return {(path.parents[1].name, int(path.name[5:])) for path in folder.glob("trials/*/checkpoints/step-*")}


def test_losers_go_first_and_the_ledger_says_so(tmp_path):
    trials = [("completed", 4.0), ("completed", 5.0), ("stopped", 6.0), ("failed", 7.0), (None, 9.0)]
    with sweep(tmp_path, trials) as ledger:
        pruner = CheckpointPruner(ledger, SharedRecord(ledger.path), tmp_path / "trials", 500)
        pruner.look()
    assert there(tmp_path) == {("t0", 10), ("t0", 20), ("t1", 20), ("t4", 10), ("t4", 20)}
    told = [event for event in events(tmp_path / NAME) if isinstance(event, CheckpointsPruned)]
    assert [(event.trial, event.steps, event.bytes) for event in told] == [
        ("t3", (10, 20), 200),
        ("t2", (10, 20), 200),
        ("t1", (10,), 100),
    ]
    assert pruner.bytes == 500


def test_what_a_copy_goes_on_from_or_may_have_to_stays(tmp_path):
    with sweep(tmp_path, [("stopped", 6.0), ("stopped", 7.0), ("completed", 4.0)]) as ledger:
        spec = {"training": {"steps": 20}, "branch": {"run": "t0", "step": 10}}
        ledger.append(TrialStarted(at=0.0, trial="copy", number=3, sample={}, spec=spec))
        CheckpointPruner(ledger, SharedRecord(ledger.path), tmp_path / "trials", 0, lambda record: {("t1", 10)}).look()
        assert there(tmp_path) == {("t0", 10), ("t1", 10), ("t2", 20)}
        checkpoint = tmp_path / "trials" / "copy" / "checkpoints" / "step-00000020"
        checkpoint.mkdir(parents=True)
        (checkpoint / "model.safetensors").write_bytes(b"x" * 100)
        CheckpointPruner(ledger, SharedRecord(ledger.path), tmp_path / "trials", 0).look()
        assert there(tmp_path) == {("t2", 20), ("copy", 20)}           # now it goes on from its own
        ledger.append(TrialEnded(at=1.0, trial="copy", status="failed", step=10))
        CheckpointPruner(ledger, SharedRecord(ledger.path), tmp_path / "trials", 0).look()
    assert there(tmp_path) == {("t2", 20)}


def test_where_the_needed_alone_are_too_many_they_stay_and_the_budget_is_gone(tmp_path):
    with sweep(tmp_path, [("completed", 4.0), (None, 5.0)]) as ledger:
        pruner = CheckpointPruner(ledger, SharedRecord(ledger.path), tmp_path / "trials", 150)
        pruner.look()
    assert there(tmp_path) == {("t0", 20), ("t1", 20)}
    assert "needed take" in BudgetSpec(trials=2, disk="0.15kB").exhausted(Spent(disk_bytes=pruner.bytes))
    assert BudgetSpec(trials=2, disk="1kB").exhausted(Spent(disk_bytes=pruner.bytes)) == ""


def test_of_beaten_trials_the_worst_goes_first_and_what_is_no_trials_is_left_alone(tmp_path):
    stranger = tmp_path / "trials" / "stranger" / "checkpoints" / "step-00000010"
    with sweep(tmp_path, [("completed", 4.0), ("completed", 9.0), ("completed", 5.0)]) as ledger:
        stranger.mkdir(parents=True)
        CheckpointPruner(ledger, SharedRecord(ledger.path), tmp_path / "trials", 400).look()
    assert there(tmp_path) == {("t0", 10), ("t0", 20), ("t2", 10), ("t2", 20), ("stranger", 10)}


class Faster(Ledger):
    """While it writes of checkpoints that go, their runs have deleted them."""

    def append(self, event):
        super().append(event)
        for step in event.steps:
            shutil.rmtree(self.path.parent / "trials" / event.trial / "checkpoints" / f"step-{step:08d}")


def test_a_run_may_have_deleted_its_checkpoint_before(tmp_path):
    sweep(tmp_path, [("failed", 4.0)]).close()
    with Faster(tmp_path / NAME) as ledger:
        CheckpointPruner(ledger, SharedRecord(ledger.path), tmp_path / "trials", 100).look()
    assert there(tmp_path) == {("t0", 20)}


def test_without_a_quota_nothing_is_touched(tmp_path):
    with sweep(tmp_path, [("failed", 4.0)]) as ledger:
        CheckpointPruner(ledger, SharedRecord(ledger.path), tmp_path / "trials", None).look()
    assert len(there(tmp_path)) == 2


def test_a_quota_that_cannot_hold_what_runs_at_once_is_refused_with_the_bytes_that_it_takes(tmp_path):
    run, storage = untrained(tmp_path)
    corpora = {corpus_key(run.data): prepared(run.data, storage)}
    tree = {
        "name": "tiny",
        "run": run.model_dump(mode="json"),
        "space": {"model.concepts": {"choice": [2, 4]}},
        "goals": [{"metric": NATS, "mode": "min"}],
    }

    def cramped(disk, at_once, **changed):
        budget = {"trials": 9} | ({"disk": disk} if disk else {})
        spec = SweepSpec.model_validate(tree | {"budget": budget} | changed)
        runs = [spec.trial(corner) for corner in spec.search_space.corners()]
        return most_within_quota(spec, runs, corpora, at_once=at_once)

    with pytest.raises(ValueError, match=r"budget\.disk: 1kB is too little: .* takes up to [\d,]+") as refused:
        cramped("1kB", at_once=1)
    needed = 2 * int(str(refused.value).split("up to ")[1].split(" bytes")[0].replace(",", ""))
    assert f"{needed:,}" in str(refused.value)
    cramped(f"{needed / 1000}kB", at_once=1)
    with pytest.raises(ValueError, match="2 trials at once"):
        cramped(f"{needed / 1000}kB", at_once=2)
    assert cramped(None, at_once=99) is None
    assert cramped(f"{2.5 * needed / 1000}kB", at_once=1) == 4    # five checkpoints, one of which is the best one's
    halving = {"kind": "asha", "first_rung": 1}
    cramped(f"{needed / 1000}kB", at_once=1, early_stopping=halving | {"mode": "stop"})
    with pytest.raises(ValueError, match=r"and 7 for trials that wait .* or lower budget\.trials"):
        cramped(f"{needed / 1000}kB", at_once=1, early_stopping=halving)
    cramped(f"{4.5 * needed / 1000}kB", at_once=1, early_stopping=halving)
