"""A ladder under real Ray: trained once, its forecast sealed before the full run and judged after it."""

import pytest
from corpora import prepared_run

import cogito_ray as cr
from cogito_ray.records.ledger import ForecastScored, ForecastSealed, Promoted

pytestmark = [pytest.mark.usefixtures("ray_cluster")]
NATS = "eval/reconstruction_nats"


def test_a_ladder_that_is_added_to_an_ended_sweep_foretells_the_full_run_which_then_judges_it(tmp_path):
    tree = {
        "name": "tiny",
        "run": prepared_run(tmp_path),
        "space": {"objective.rate": {"choice": [0.3, 0.6]}},
        "search": {"sampler": "grid"},
        "goals": [{"metric": NATS, "mode": "min"}],
        "promote": {"with": {"training.steps": 40}},
        "budget": {"trials": 2},
    }
    assert not cr.sweep(tree, storage=tmp_path, verbose=False).record.forecasts
    tree |= {"scale": {"sizes": {"training.steps": [5, 10, 20]}}}
    climbed = cr.sweep(tree, storage=tmp_path, verbose=False).record
    assert len(climbed.variants) == 3
    assert all(rung.status == "completed" for rung in climbed.variants.values())
    [(run, goal)] = climbed.forecasts
    assert goal == NATS
    assert len(cr.sweep(tree, storage=tmp_path, verbose=False).record.events) == len(climbed.events)   # nothing is left

    record = cr.promote(tree, storage=tmp_path).record
    order = [type(event) for event in record.events if isinstance(event, ForecastSealed | Promoted | ForecastScored)]
    assert order == [ForecastSealed, Promoted, ForecastScored]
    assert record.scores[run, goal].value == record.promoted[run].metrics[NATS]
