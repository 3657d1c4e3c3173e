"""The simulator: real searcher and policy, counted steps, no cluster."""

from statistics import fmean

from corpora import unread_run
from sweep_simulator import simulate

from cogito_ray.sweeps.sweep_spec import SweepSpec

NATS = "eval/reconstruction_nats"
RATES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


def sweep(**changed):
    tree = {
        "name": "tiny",
        "run": unread_run(steps=90, report_every=10, batch=8),
        "space": {"objective.rate": {"choice": RATES}},
        "goals": [{"metric": NATS, "mode": "min"}],
        "search": {"sampler": "grid"},
        "budget": {"trials": len(RATES)},
    }
    return SweepSpec.model_validate(tree | changed)


def falling(sample, step):
    return {NATS: float(sample["objective.rate"]) + 1 / step}


PAUSE = {"kind": "asha", "first_rung": 10}


def valley(sample, step):
    return {NATS: abs(float(sample["objective.rate"]) - 0.3) + 1 / step}


def test_without_early_stopping_every_point_of_a_grid_takes_all_its_steps():
    ended = simulate(sweep(), falling, workers=2, limit=10**9)
    assert sorted(trial.sample["objective.rate"] for trial in ended) == RATES
    assert all(trial.completed and trial.step == 90 for trial in ended)
    assert ended[-1].spent == 90 * len(RATES)


def test_early_stopping_spends_less_and_still_completes_the_best():
    stopping = {"kind": "asha", "first_rung": 10, "mode": "stop"}
    ended = simulate(sweep(early_stopping=stopping), falling, workers=2, limit=10**9)
    assert len(ended) == len(RATES)
    assert RATES[0] in [trial.sample["objective.rate"] for trial in ended if trial.completed]
    assert ended[-1].spent == sum(trial.step for trial in ended) < 0.7 * 90 * len(RATES)


def test_nobody_works_past_the_limit():
    ended = simulate(sweep(), falling, workers=2, limit=200)
    assert [trial.spent for trial in ended] == [170, 180]


def test_a_simulation_repeats_itself():
    spec = sweep(early_stopping={"kind": "pareto_asha", "first_rung": 10})
    assert simulate(spec, falling, workers=3, limit=10**9) == simulate(spec, falling, workers=3, limit=10**9)


def test_pausing_completes_the_best_and_spends_no_step_twice():
    stopping = {"kind": "asha", "first_rung": 10}
    ended = simulate(sweep(early_stopping=stopping), falling, workers=2, limit=10**9)
    assert sorted(trial.sample["objective.rate"] for trial in ended) == RATES
    assert RATES[0] in [trial.sample["objective.rate"] for trial in ended if trial.completed]
    assert ended[-1].spent == sum(trial.step for trial in ended) < 0.5 * 90 * len(RATES)
    assert {trial.step for trial in ended} <= {10, 30, 90}


def test_trials_that_wait_teach_the_sampler_where_to_go_on():
    """Before the last few are given up, most trials wait: who learned nothing from them would search at random."""

    def distance(sampler):
        changed = {"space": {"objective.rate": {"uniform": [0.1, 0.9]}}, "budget": {"trials": 40}}
        spec = sweep(early_stopping=PAUSE, search={"sampler": sampler, "seed": 1}, **changed)
        ended = simulate(spec, valley, workers=2, limit=10**9)
        assert sum(trial.completed for trial in ended) < 20
        return fmean(abs(float(trial.sample["objective.rate"]) - 0.3) for trial in ended)

    assert distance("tpe") < 0.75 * distance("random")
