"""A forecast's arithmetic: from two measured corners to what a sweep costs."""

import pytest
from corpora import unread_run

from cogito_ray.sweeps.statistics.cost_forecast import (
    GRID_VALUES,
    Corner,
    Forecast,
    Measured,
    grid_points,
    micro,
)
from cogito_ray.sweeps.statistics.early_stopping_work import share_left
from cogito_ray.sweeps.sweep_spec import SweepSpec

CHEAP = Measured(start_s=10.0, step_s=0.1, report_s=1.0, checkpoint_bytes=100, peak_bytes=1000)
DEAR = Measured(start_s=10.0, step_s=0.4, report_s=2.0, checkpoint_bytes=300, peak_bytes=4000)


def sweep(**changed):
    tree = {
        "name": "tiny",
        "run": unread_run(steps=900, report_every=100, checkpoint_every=300, batch=8),
        "space": {"objective.rate": {"uniform": [0.3, 0.6]}, "model.concepts": {"choice": [8, 16]}},
        "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
        "budget": {"trials": 20},
    }
    return SweepSpec.model_validate(tree | changed)


def found(spec, at_once=2):
    run = spec.trial({"objective.rate": 0.3, "model.concepts": 8})
    return Forecast(spec, Corner(run, CHEAP), Corner(run, DEAR), at_once, "made-up text")


def test_a_trial_takes_its_start_its_steps_and_its_reports():
    told = found(sweep())
    assert told.cheapest.seconds == 10 + 900 * 0.1 + 9 * 1.0
    assert told.dearest.disk_bytes == 2 * 300  # of three checkpoints two are kept


def test_without_early_stopping_all_trials_run_to_their_end():
    told = found(sweep())
    assert (told.share, told.whole_trials) == (1.0, 20.0)
    assert told.cpu_hours.low == pytest.approx(20 * told.cheapest.seconds / 3600)
    assert told.wall_s.high == pytest.approx(10 * told.dearest.seconds)
    assert told.gpu_hours.high == 0


@pytest.mark.parametrize("goal", ["min", "max"])
def test_early_stopping_saves_what_its_rungs_say(goal):
    goals = [{"metric": "concepts/effective_rank", "mode": goal}]
    ideal = (100 + 200 / 3 + 600 / 9) / 900  # a third passes 100, a ninth passes 300

    def left(mode, trials):
        stopping = {"kind": "asha", "first_rung": 100, "eta": 3, "mode": mode}
        spec = sweep(early_stopping=stopping, budget={"trials": trials}, goals=goals)
        return share_left(spec.early_stopping, spec.aim, 900, trials=trials)

    assert left("pause", 162) == pytest.approx(ideal, rel=0.15)  # some were among the best when they came
    assert left("stop", 150) == pytest.approx(ideal, rel=0.35)  # the first always pass
    assert left("stop", 20) > left("stop", 150)                 # of few, more are among the first


def test_constraints_do_not_make_every_trial_a_loser():
    stopping = {"kind": "pareto_asha", "first_rung": 100, "eta": 3}

    def left(**constraints):
        spec = sweep(early_stopping=stopping, constraints=constraints)
        return share_left(spec.early_stopping, spec.aim, 900, trials=20)

    assert left(**{"concepts/effective_rank": ">= 3"}) == left()


def test_further_runs_of_finalists_are_counted():
    assert found(sweep(seeds=3)).whole_trials == 20 + 4 * 3


def test_the_grid_takes_listed_values_and_a_few_of_what_cannot_be_listed():
    assert grid_points(sweep()) == 2 * GRID_VALUES
    space = {
        "model.latents": {"preset": {"plain": {"kind": "plain"}, "anchored": {"kind": "anchored"}}},
        "model.concepts": {"choice": [4, 8, 16], "when": {"model.latents": "anchored"}},
        "objective.rate": {"uniform": [0.3, 0.6]},
    }
    assert grid_points(sweep(space=space)) == (1 + 3) * GRID_VALUES
    assert found(sweep()).grid_hours.low == pytest.approx(2 * GRID_VALUES * found(sweep()).cheapest.seconds / 3600)


def test_a_budget_that_would_end_it_is_named():
    assert "budget.wall" in found(sweep(budget={"trials": 20, "wall": "1m"})).cut
    assert found(sweep(budget={"trials": 20, "wall": "9d"})).cut == ""
    assert "budget.disk" in found(sweep(budget={"trials": 20, "disk": "0.899kB"})).cut  # two at once, and the best
    assert found(sweep(budget={"trials": 20, "disk": "0.9kB"})).cut == ""


def test_a_micro_run_is_one_workers_share_of_the_same_run():
    run = sweep().trial({"objective.rate": 0.3, "model.concepts": 8})
    small = micro(run.model_copy(update={"workers": 4}), steps=8)
    assert (small.workers, small.training.batch, small.micro_batch) == (1, 2, 2)
    assert (small.training.steps, small.training.report_every, small.model) == (8, 4, run.model)
