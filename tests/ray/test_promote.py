"""Winners trained again at full size under real Ray: own records, nothing twice, a certificate."""

import pytest
from corpora import prepared_run
from test_python_api import interrupting

import cogito_ray as cr
from cogito_ray.records.ledger import NAME, PROMOTED, Ledger, Promoted, Reported, TrialEnded, TrialStarted, events
from cogito_ray.runtime.experiment_folder import ExperimentFolder, closing
from cogito_ray.runtime.train.promotion_driver import planned, promote
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.text.data_spec import corpus_key
from cogito_ray.text.preparation_plan import prepared

pytestmark = [pytest.mark.usefixtures("ray_cluster")]
NATS = "eval/reconstruction_nats"


def write_ended(spec, storage):
    """The ledger of this sweep after its trials ended, the later ones worse."""
    experiment = ExperimentFolder.of_sweep(spec, storage)
    with Ledger(experiment.ledger) as ledger:
        [data] = spec.search_space.corpora()
        read = prepared(data, storage).digests
        ledger.append(experiment.opening({corpus_key(data): read}))
        for number, sample in enumerate(spec.search_space.grid_points()):
            run = spec.trial(sample)
            name, steps = run.digest(), run.training.steps
            tree = run.model_dump(mode="json")
            ledger.append(TrialStarted(at=0, trial=name, number=number, sample=sample, spec=tree, data=read))
            ledger.append(Reported(trial=name, step=steps, seconds=1, metrics={NATS: 5.0 + number}))
            ledger.append(TrialEnded(at=1, trial=name, status="completed", step=steps))
        ledger.append(closing())


def test_a_promotion_that_is_interrupted_begins_no_further_run_and_the_same_call_ends_them(tmp_path):
    tree = {
        "name": "tiny",
        "run": prepared_run(tmp_path),
        "space": {"objective.rate": {"choice": [0.3, 0.6]}},
        "search": {"sampler": "grid"},
        "goals": [{"metric": NATS, "mode": "min"}],
        "promote": {"top": 2, "with": {"training.steps": 400, "training.report_every": 20}},
        "budget": {"trials": 2},
    }
    spec = SweepSpec.model_validate(tree)
    write_ended(spec, tmp_path)
    first, second = (one.run.digest() for one in planned(spec, tmp_path))
    ledger = tmp_path / "tiny" / PROMOTED / first / NAME
    with pytest.raises(cr.Interrupted) as ended, interrupting(ledger):
        cr.promote(tree, storage=tmp_path)
    assert [told.complete for told in ended.value.result.record.promoted.values()] == [False]
    assert not (tmp_path / "tiny" / PROMOTED / second).exists()
    result = cr.promote(tree, storage=tmp_path)
    assert {told.run: told.complete for told in result.record.promoted.values()} == {first: True, second: True}


def test_the_winner_is_trained_at_full_size_once_and_the_sweep_says_so(tmp_path):
    spec = SweepSpec.model_validate(
        {
            "name": "tiny",
            "run": prepared_run(tmp_path),
            "space": {"objective.rate": {"choice": [0.3, 0.6]}},
            "search": {"sampler": "grid"},
            "goals": [{"metric": NATS, "mode": "min"}],
            "promote": {"top": 1, "with": {"training.steps": 10}},
            "budget": {"trials": 2},
        }
    )
    with pytest.raises(ValueError, match="the sweep has not ended; run it first"):
        planned(spec, tmp_path)
    write_ended(spec, tmp_path)
    [due] = planned(spec, tmp_path)
    assert due.changes == ("training.steps: 6 -> 10",)
    assert due.run.objective.rate == 0.3
    record = promote(spec, tmp_path)
    [told] = record.promoted.values()
    assert told.complete
    assert (tmp_path / "tiny" / PROMOTED / told.run / NAME).exists()
    assert record.certified[NATS].weak  # a single run certifies nothing
    promote(spec, tmp_path)
    assert sum(isinstance(event, Promoted) for event in events(tmp_path / "tiny" / NAME)) == 1
