"""What memory a run will take, told from its shapes and from the trials before."""

import pytest
from corpora import unread_run

from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.statistics.memory_forecast import MemoryForecast, estimate


def tree(width=64, **training):
    run = unread_run(batch=32, **training)
    run["model"] |= {"width": width}
    return RunSpec.model_validate(run).model_dump(mode="json")


def test_wider_runs_and_larger_micro_batches_take_more_and_more_workers_less():
    assert estimate(tree(128)) > 2 * estimate(tree(64))
    assert estimate(tree(micro_batch=8)) < estimate(tree(micro_batch=16)) < estimate(tree())
    assert estimate(tree() | {"workers": 2}) == pytest.approx(estimate(tree(micro_batch=16)))
    assert estimate(tree() | {"workers": {"min": 1, "max": 2}}) == estimate(tree() | {"workers": 2})


def test_a_forecast_is_corrected_by_what_trials_took_and_refuses_what_is_over_the_limit():
    memory = MemoryForecast(limit=3 * estimate(tree(64)))
    assert memory.refusal(tree(64)) == ""
    memory.measured("one", tree(64), 2 * estimate(tree(64)))
    assert memory.refusal(tree(64)) == ""
    assert memory.forecast(tree(128)) == pytest.approx(2 * estimate(tree(128)))
    assert memory.refusal(tree(128)).startswith("out of memory: would take about")


def test_what_takes_as_much_as_a_trial_that_ran_out_of_memory_is_refused_without_a_limit():
    memory = MemoryForecast()
    memory.died("dead", tree(96))
    assert "as much as trial dead" in memory.refusal(tree(96))
    assert "as much as trial dead" in memory.refusal(tree(128))
    assert memory.refusal(tree(64)) == ""
