"""The sweep's checkpoints on disk are kept within their bytes, and the ledger says what went."""

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
from cogito_ray.runtime.pruner import Pruner
from cogito_ray.sweeps.budget import BudgetSpec, Spent

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
        pruner = Pruner(ledger, tmp_path / "trials", 500)
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
        Pruner(ledger, tmp_path / "trials", 0, lambda: {("t1", 10)}).look()
        assert there(tmp_path) == {("t0", 10), ("t1", 10), ("t2", 20)}
        ledger.append(TrialEnded(at=1.0, trial="copy", status="failed", step=10))
        Pruner(ledger, tmp_path / "trials", 0).look()
    assert there(tmp_path) == {("t2", 20)}


def test_where_the_needed_alone_are_too_many_they_stay_and_the_budget_is_gone(tmp_path):
    with sweep(tmp_path, [("completed", 4.0), (None, 5.0)]) as ledger:
        pruner = Pruner(ledger, tmp_path / "trials", 150)
        pruner.look()
    assert there(tmp_path) == {("t0", 20), ("t1", 20)}
    assert "needed take" in BudgetSpec(trials=2, disk="0.15kB").gone(Spent(disk_bytes=pruner.bytes))
    assert BudgetSpec(trials=2, disk="1kB").gone(Spent(disk_bytes=pruner.bytes)) == ""


def test_without_a_quota_nothing_is_touched(tmp_path):
    with sweep(tmp_path, [("failed", 4.0)]) as ledger:
        Pruner(ledger, tmp_path / "trials", None).look()
    assert len(there(tmp_path)) == 2
