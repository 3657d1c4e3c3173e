"""Promotion is refused until there is something to promote from. No cluster."""

import json

import pytest
from corpora import tiny_run
from typer.testing import CliRunner

from cogito_ray.cli import app
from cogito_ray.records.ledger import (
    NAME,
    ForecastScored,
    ForecastSealed,
    Ledger,
    Promoted,
    Reported,
    TrialEnded,
    TrialStarted,
)
from cogito_ray.records.sweep_record import read
from cogito_ray.runtime.experiment_folder import ExperimentFolder, closing
from cogito_ray.runtime.train.promotion_driver import planned
from cogito_ray.sweeps.sweep_spec import SweepSpec

NATS = "eval/reconstruction_nats"


def sweep(folder, **changed):
    tree = {
        "name": "tiny",
        "run": tiny_run(folder),
        "space": {"seed": {"randint": [0, 9]}},
        "goals": [{"metric": NATS, "mode": "min"}],
        "budget": {"trials": 4},
        "promote": {"with": {"training.steps": 50}},
    }
    return SweepSpec.model_validate(tree | changed)


def test_a_sweep_that_asks_for_no_promotion_is_told_how_to(tmp_path):
    with pytest.raises(ValueError, match="add promote: "):
        planned(sweep(tmp_path, promote=None), tmp_path)


def test_a_sweep_that_was_never_begun_or_has_not_ended_is_to_be_run_first(tmp_path):
    spec = sweep(tmp_path)
    with pytest.raises(ValueError, match="has not ended; run it first"):
        planned(spec, tmp_path)
    experiment = ExperimentFolder.of_sweep(spec, tmp_path)
    with Ledger(experiment.ledger) as ledger:
        ledger.append(experiment.opening())
    with pytest.raises(ValueError, match="has not ended; run it first"):
        planned(spec, tmp_path)


def ended_with_forecast(folder, *, inside):
    """The file of a sweep whose full run has ended, inside or outside of what its ladder foretold."""
    spec = sweep(folder, space={"seed": {"choice": [3]}}, search={"sampler": "grid"}, budget={"trials": 1})
    experiment, run = ExperimentFolder.of_sweep(spec, folder), spec.trial({"seed": 3})
    at = {"at": 1.0}
    with Ledger(experiment.ledger) as ledger:
        ledger.append(experiment.opening())
        spec_of = run.model_dump(mode="json")
        ledger.append(TrialStarted(**at, trial=run.digest(), number=0, sample={"seed": 3}, spec=spec_of))
        ledger.append(Reported(trial=run.digest(), step=6, seconds=1, metrics={NATS: 5.0}))
        ledger.append(TrialEnded(**at, trial=run.digest(), status="completed", step=6))
        ledger.append(closing())
    [due] = planned(spec, folder)
    full = {"run": due.run.digest()}
    forecast = ForecastSealed(
        **at, **full, trial=due.trial, goal=NATS, parameters=1, tokens=1, value=4.0, low=3.9, high=4.1, law="",
        ladder=(), code="", data="",
    ).sealed()  # fmt: skip
    value = 4.0 if inside else 4.5
    score = {"seal": forecast.seal, "value": value, "error": 4.0 / value - 1, "inside": inside}
    with Ledger(experiment.ledger) as ledger:
        ledger.append(forecast)
        told = {"changes": due.changes, "complete": True, "metrics": {NATS: value}, "folder": "f"}
        ledger.append(Promoted(**at, **full, trial=due.trial, **told))
        ledger.append(ForecastScored(**at, **full, goal=NATS, **score, differs=("torch: 2.11 -> 2.12",)))
    file = folder / "sweep.yaml"
    file.write_text(json.dumps(spec.model_dump(mode="json")))
    return file


@pytest.mark.parametrize("inside", [True, False])
def test_promote_fails_and_says_what_differs_where_a_full_run_missed_its_forecast(tmp_path, inside):
    file = ended_with_forecast(tmp_path, inside=inside)
    found = CliRunner().invoke(app, ["promote", str(file), "--storage", str(tmp_path)])
    said = " ".join(found.output.split())
    assert found.exit_code == int(not inside), found.output
    assert ("Forecast missed: trial 0 at full size" in said) is not inside
    assert ("differs from its ladder, beside what that varies, in torch: 2.11 -> 2.12" in said) is not inside


def test_a_gate_holds_a_promotion_and_says_its_figures_until_a_person_promotes_all_the_same(tmp_path):
    file = ended_with_forecast(tmp_path, inside=True)

    def promote(gates):
        return CliRunner().invoke(app, ["promote", str(file), f"promote.gates={gates}", "--storage", str(tmp_path)])

    def gate(bound):
        return f"[{{if: {NATS} < {bound}, then: train it at full size}}]"

    held = promote(gate(4.9))
    assert isinstance(held.exception, ValueError)
    assert f"{NATS} < 4.9 (trial 0: {NATS} 5)" in str(held.exception)
    assert "a person may promote all the same: promote.gates=[]" in str(held.exception)
    assert [told.holds for told in read(tmp_path / "tiny" / NAME).gates] == [False]
    assert promote("[]").exit_code == 0
    assert promote(gate(5.1)).exit_code == 0
    assert [told.holds for told in read(tmp_path / "tiny" / NAME).gates] == [False, True]
