"""Winners trained again at full size under real Ray: own records, nothing twice, a certificate."""

import pytest
from corpora import tiny_run

from cogito_ray.records.ledger import NAME, Promoted, events
from cogito_ray.runtime.promote import PROMOTED, planned, promote
from cogito_ray.runtime.sweep import run_sweep
from cogito_ray.sweeps.spec import SweepSpec

pytestmark = [pytest.mark.usefixtures("ray_cluster")]


def test_the_winner_is_trained_at_full_size_once_and_the_sweep_says_so(tmp_path):
    spec = SweepSpec.model_validate(
        {
            "name": "tiny",
            "run": tiny_run(tmp_path),
            "space": {"objective.rate": {"choice": [0.3, 0.6]}},
            "search": {"sampler": "grid"},
            "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
            "promote": {"top": 1, "with": {"training.steps": 10}},
            "budget": {"trials": 2},
        }
    )
    with pytest.raises(ValueError, match="the sweep has not ended; run it first"):
        planned(spec, tmp_path)
    run_sweep(spec, tmp_path)
    [due] = planned(spec, tmp_path)
    assert due.changes == ("training.steps: 6 -> 10",)
    record = promote(spec, tmp_path)
    [told] = record.promoted.values()
    assert told.complete
    assert (tmp_path / "tiny" / PROMOTED / told.run / NAME).exists()
    assert record.certified["eval/reconstruction_nats"].weak  # a single run certifies nothing
    promote(spec, tmp_path)
    assert sum(isinstance(event, Promoted) for event in events(tmp_path / "tiny" / NAME)) == 1
