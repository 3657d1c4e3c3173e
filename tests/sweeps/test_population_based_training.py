"""Population based training: who is stopped, who is copied, and how; what every policy must do is in test_stopping."""

import copy
import math

import numpy as np
import pytest
from pydantic import ValidationError

from cogito_ray.sweeps.early_stopping.pbt_perturbation import explored, movable
from cogito_ray.sweeps.early_stopping.population_based_training import PopulationSpec
from cogito_ray.sweeps.goals.goal_spec import Aim, GoalSpec
from cogito_ray.sweeps.space.dotted_paths import put
from cogito_ray.sweeps.space.validation_messages import explain
from cogito_ray.sweeps.sweep_spec import SweepSpec

AIM = Aim.of((GoalSpec(metric="nats", mode="min"),), {})


def policy(aim=AIM, seed=0, **settings):
    return PopulationSpec(every=10, **settings).policy(40, aim, seed)


def told(rule, values, step=10):
    """Verdicts on t0, t1, ..., which report these values in this order."""
    return [rule.report(f"t{n}", step, {"nats": value}) for n, value in enumerate(values)]


def test_the_worst_quarter_of_those_so_far_is_stopped_and_a_copy_of_the_best_quarter_takes_its_place():
    rule = policy()
    verdicts = told(rule, [1.0, 2.0, 3.0, 1.5, 1.6, 2.5])
    assert [verdict.keep for verdict in verdicts] == [True, False, False, True, True, False]
    assert [set(copy.parents[:2]) for copy in rule.copies] == [{"t0"}, {"t0"}, {"t0", "t3"}]
    assert rule.copies[2].parents[2:] == ("t4",)
    assert {copy.step for copy in rule.copies} == {10}
    assert verdicts[1].cause == "nats 2 among the worst 1 of 2 at step 10: in its place, a copy of t0 (nats 1)"


def test_no_more_than_half_are_stopped_and_the_first_never_is():
    verdicts = told(policy(quantile=0.5), [3.0, 2.0, 1.0])
    assert all(verdict.keep for verdict in verdicts)
    assert [verdict.keep for verdict in told(policy(quantile=0.5), [1.0, 2.0, 3.0])] == [True, False, False]


def test_trials_are_compared_at_equal_steps_and_never_at_the_last_one():
    rule = policy()
    assert rule.report("old", 30, {"nats": 1.0}).keep
    assert rule.report("young", 10, {"nats": 9.0}).keep
    assert rule.report("done", 40, {"nats": 99.0}).keep
    assert rule.report("between", 15, {"nats": 99.0}).keep
    assert rule.copies == []


def test_who_was_stopped_left_no_checkpoint_and_is_never_copied():
    rule = policy(quantile=0.5)
    told(rule, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert [copy.parents for copy in rule.copies] == [("t0",)] * 5


def test_who_broke_a_constraint_is_never_copied_even_if_nobody_else_can_be():
    rule = policy(Aim.of(AIM.goals, {"similarity": ">= 0.5"}))
    assert rule.report("broken", 10, {"nats": 1.0, "similarity": 0.4}).keep
    assert rule.report("worse", 10, {"nats": 1.0, "similarity": 0.3}).keep
    assert rule.report("sound", 10, {"nats": 9.0, "similarity": 0.6}).keep
    assert not rule.report("late", 10, {"nats": 1.5, "similarity": 0.2}).keep
    assert [copy.parents for copy in rule.copies] == [("sound",)]


def test_what_is_not_finite_is_stopped_without_a_copy_while_there_is_nobody_to_copy():
    rule = policy()
    assert not rule.report("lost", 10, {"nats": math.nan}).keep
    assert rule.copies == []
    rule.report("sound", 10, {"nats": 1.0})
    assert not rule.report("lost too", 10, {}).keep
    assert [copy.parents for copy in rule.copies] == [("sound",)]


def test_another_seed_copies_others_and_draws_other_settings():
    values = [0.8, 0.7, 0.6, 0.5, 0.4, 0.3, *(1 + n / 10 for n in range(6))]
    one, same, other = (policy(seed=seed, quantile=0.4) for seed in (0, 0, 1))
    for rule in (one, same, other):
        told(rule, values)
    assert one.copies == same.copies
    assert [copy.parents for copy in one.copies] != [copy.parents for copy in other.copies]
    assert one.copies[0].draw().random() == same.copies[0].draw().random() != other.copies[0].draw().random()
    assert len({copy.draw().random() for copy in one.copies}) == len(one.copies)


def test_checkpoints_of_those_who_may_be_copied_are_sources_until_better_ones_have_come():
    rule = policy()
    told(rule, [5.0])
    assert rule.sources == {("t0", 10)}
    rule.report("better", 10, {"nats": 1.0})
    assert rule.sources == {("better", 10)}
    rule.report("bad", 10, {"nats": 9.0})
    assert rule.sources == {("better", 10)}
    assert rule.copies[0].parents == ("better", "t0")


BASE = {
    "name": "tiny",
    "run": {
        "data": {"sources": {"library": {"kind": "python-docs", "part": "library"}}, "length": 32},
        "model": {"width": 64, "heads": 4, "concepts": 8, "decoder": {"kind": "position"}},
        "objective": {"kind": "tsdae"},
        "loss": {"regularisers": [{"kind": "variance"}]},
        "training": {"steps": 100, "batch": 8, "checkpoints": {"milestone_every": 50}},
    },
    "space": {"training.optimizer.learning_rate": {"loguniform": [1e-4, 1e-2]}},
    "goals": [{"metric": "eval/reconstruction_nats", "mode": "min"}],
    "early_stopping": {"kind": "population", "every": 50},
    "budget": {"trials": 6},
}


def sweep(**changes):
    """BASE with dotted paths replaced; `__` stands for a dot."""
    tree = copy.deepcopy(BASE)
    for path, value in changes.items():
        put(tree, path.replace("__", "."), value)
    return SweepSpec.model_validate(tree)


RATE = {"training.optimizer.learning_rate": {"loguniform": [1e-4, 1e-2]}}
CONCEPTS = {"model.concepts": {"choice": [4, 8]}}
CROSSED = {"training.optimizer.learning_rate": {"grid": [1e-3, 1e-2]}} | CONCEPTS


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"space": CONCEPTS}, "early_stopping.kind: copies could vary nothing"),
        ({"space": CROSSED}, "early_stopping.kind: copies could vary nothing"),
        ({"early_stopping__every": 100}, "early_stopping.every: 100 is not before the last step (100)"),
        ({"early_stopping__every": 75}, "early_stopping.every: 75 is no multiple of training.report_every [50]"),
        ({"run__training__checkpoints": {}}, "run.training.checkpoints.milestone_every: trials are copied from"),
        ({"space": RATE | {"training.steps": {"choice": [100, 200]}}}, "early_stopping.every: trials of [100, 200] st"),
        ({"budget__trials": 1}, "budget.trials: a population of one"),
        ({"seeds": 2}, "seeds: a copy has another trial's past"),
        ({"promote": {"with": {"training.steps": 50_000}}}, "promote: a copy has another trial's past"),
        ({"run__branch": {"run": "a1b2c3", "step": 50}}, "run.branch: nobody but a population"),
    ],
)
def test_a_sweep_that_can_be_no_population_is_refused_with_a_way_out(changes, fault):
    with pytest.raises(ValidationError) as error:
        sweep(**changes)
    found = [line for line in explain(error.value)[0].splitlines() if line.startswith(fault)]
    assert found, explain(error.value)


def test_copies_vary_what_may_change_while_training_and_inherit_the_rest():
    moving = {
        "training.optimizer.learning_rate": {"loguniform": [1e-4, 1e-2]},
        "training.optimizer.weight_decay": {"choice": [0.0, 0.01, 0.1]},
        "training.schedule.decay": {"uniform": [0.1, 0.3]},
        "loss.weighting.weights.variance": {"uniform": [0.0, 1.0]},
        "loss.regularisers.0.layers": {"choice": ["last", "every"]},
        "objective.rate": {"uniform": [0.3, 0.9]},
    }
    fixed = {"model.concepts": {"choice": [4, 8]}, "seed": {"choice": [1, 2]}, "training.batch": {"choice": [8, 16]}}
    fixed |= {"training.optimizer.kind": {"choice": ["adamw", "muon"]}}     # moments of one are none of the other
    spec = sweep(space=moving | fixed)
    assert set(movable(spec.search_space)) == set(moving)
    sample = {path: domain.extremes()[0] for path, domain in spec.space.items()}
    changed = explored(sample, movable(spec.search_space), 0.25, np.random.default_rng(0))
    assert {path: changed[path] for path in fixed} == {path: sample[path] for path in fixed}


def test_what_an_inherited_size_is_a_ratio_of_is_inherited_too():
    follows = {"model.token_width": {"ratio": {"of": "objective.rate", "choice": [100.0, 200.0]}}}
    spec = sweep(space=RATE | {"objective.rate": {"choice": [0.4, 0.5]}} | follows)
    assert set(movable(spec.search_space)) == set(RATE)


def test_what_decides_whether_another_axis_varies_is_inherited_and_absent_axes_stay_absent():
    axes = {
        "loss.regularisers.0.layers": {"choice": ["last", "every"]},
        "loss.weighting.weights.variance": {"choice": [0.5, 1.0], "when": {"loss.regularisers.0.layers": "every"}},
    }
    spec = sweep(space=RATE | axes)
    assert set(movable(spec.search_space)) == {*RATE, "loss.weighting.weights.variance"}
    sample = {"training.optimizer.learning_rate": 1e-3, "loss.regularisers.0.layers": "last"}
    assert explored(sample, movable(spec.search_space), 0.25, np.random.default_rng(0)).keys() == sample.keys()


def walked(domain, value, resample=0.0):
    """Where one axis goes from `value` in 200 copies."""
    spec = sweep(space=RATE | {"objective.rate": domain})
    axes, draw = {"objective.rate": movable(spec.search_space)["objective.rate"]}, np.random.default_rng(0)
    return {explored({"objective.rate": value}, axes, resample, draw)["objective.rate"] for _ in range(200)}


def test_numbers_move_by_a_fifth_and_stay_in_their_domain():
    assert walked({"uniform": [0.2, 0.9]}, 0.5) == {0.5 * 0.8, 0.5 * 1.2}
    assert walked({"uniform": [0.45, 0.55]}, 0.5) == {0.45, 0.55}
    assert sorted(walked({"uniform": [0.2, 0.9], "step": 0.1}, 0.2)) == pytest.approx([0.2, 0.3])
    assert walked({"choice": [0.2, 0.5, 0.6, 0.9]}, 0.5) == {0.2, 0.6}


def test_what_is_drawn_anew_comes_from_the_whole_domain():
    assert walked({"choice": [0.2, 0.5, 0.6, 0.9]}, 0.5, resample=1.0) == {0.2, 0.5, 0.6, 0.9}
    drawn = walked({"loguniform": [0.01, 0.9]}, 0.5, resample=1.0)
    assert 0.01 <= min(drawn) < max(drawn) <= 0.9
    assert np.median(list(drawn)) == pytest.approx((0.01 * 0.9) ** 0.5, rel=0.5)  # the middle of the logarithms


def test_whole_numbers_stay_whole_and_take_a_step_where_a_fifth_is_less():
    spec = sweep(space={"training.schedule.warmup_steps": {"randint": [0, 20]}})
    axes, draw = movable(spec.search_space), np.random.default_rng(0)
    [path] = axes
    assert {explored({path: 2}, axes, 0.0, draw)[path] for _ in range(50)} == {1, 3}
    assert {explored({path: 20}, axes, 0.0, draw)[path] for _ in range(50)} == {16, 20}
