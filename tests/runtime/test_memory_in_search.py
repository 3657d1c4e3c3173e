"""Memory as a constraint of a search, and what trials cost as a goal; without a cluster."""

import pytest
from corpora import unread_run
from optuna.trial import TrialState

from cogito_ray.records.ledger import SampleRejected, TrialEnded
from cogito_ray.runtime.trial_recorder import death
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.testing.search_driver import Driven

NATS = "eval/reconstruction_nats"


def sweep(**changed):
    return SweepSpec.model_validate({
        "name": "tight",
        "run": unread_run(steps=40, report_every=20),
        "space": {"model.width": {"choice": [32, 64, 128, 256]}},
        "goals": [{"metric": NATS, "mode": "min"}],
        "budget": {"trials": 4},
        "search": {"sampler": "random", "start_with": [{"model.width": 128}]},
    } | changed)


def widths(search):
    """Of all trials that it hands out, each of which ends in order."""
    found = []
    while isinstance(config := search.suggest("now"), dict):
        found.append(config["sample"]["model.width"])
        search.report("now", 40, {NATS: 5.0})
        search.end("now", {"step": 40, "metrics": ()})
    return found


def test_after_a_death_for_lack_of_memory_nothing_as_large_is_tried_and_the_sampler_knows_it_as_infeasible():
    search = Driven(sweep())
    search.suggest("first")
    search.end("first", death(0, "out of memory: CUDA out of memory. Tried to allocate 9 GiB"))
    assert sorted(widths(search)) == [32, 64]
    [ended] = [event for event in search.log if isinstance(event, TrialEnded) and event.status == "failed"]
    assert ended.cause.startswith("out of memory")
    for told in [search.trials[0], *(one for one in search.trials if "memory" in one.user_attrs.get("cause", ""))]:
        assert told.state is TrialState.PRUNED
        assert told.constraints == {"alive": 1.0}
    again = Driven(sweep(), search.log)
    assert [one.state for one in again.trials] == [one.state for one in search.trials]


def test_points_that_would_take_more_than_budget_memory_by_what_was_seen_are_not_started():
    search = Driven(sweep(budget={"trials": 4, "memory": "1GB"}, search={"start_with": [{"model.width": 64}]}))
    search.suggest("first")
    search.report("first", 20, {NATS: 5.0, "memory/peak_gb": 0.9})
    search.report("first", 40, {NATS: 5.0, "memory/peak_gb": 0.9})
    search.end("first", {"step": 40, "metrics": ()})
    assert widths(search) == [32]
    assert any("would take about" in event.cause for event in search.log if isinstance(event, SampleRejected))


@pytest.mark.parametrize("metric", ["cost/wall_s", "memory/peak_gb"])
def test_what_a_trial_costs_may_be_a_goal_or_a_constraint(metric):
    goals = [{"metric": NATS, "mode": "min"}, {"metric": metric, "mode": "min"}]
    assert sweep(goals=goals).goals[1].metric == metric
    assert sweep(constraints={metric: "<= 20"}).constraints == {metric: "<= 20"}


def test_gpu_hours_are_a_goal_where_trials_reserve_gpus():
    goals = [{"metric": "cost/gpu_hours", "mode": "min"}]
    with pytest.raises(ValueError, match="no run reports cost/gpu_hours"):
        sweep(goals=goals)
    run = unread_run(steps=40, report_every=20) | {"gpus_per_worker": 0.5}
    search = Driven(sweep(goals=goals, run=run))
    config = search.suggest("now")
    search.report("now", 20, {NATS: 5.0})
    told = search.log[-1]
    assert told.metrics["cost/gpu_hours"] == pytest.approx(0.5 * told.metrics["cost/wall_s"] / 3600)
    assert told.trial == config["trial"]
