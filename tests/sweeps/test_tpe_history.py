"""TPE over a bounded history: what it sees of a long study, and that it is plain TPE while the study is short."""

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from cogito_ray.sweeps.tpe_history import BoundedTPESampler, best_and_latest

AXIS = {"x": FloatDistribution(0.0, 1.0)}
SETTINGS = {"seed": 0, "multivariate": True, "constant_liar": True, "n_startup_trials": 4}


def study_of(values, directions=("minimize",)):
    """Trials that completed with these values, or were stopped where there are none."""
    study = optuna.create_study(directions=directions)
    for number, value in enumerate(values):
        state = TrialState.PRUNED if value is None else TrialState.COMPLETE
        study.add_trial(
            create_trial(state=state, params={"x": number / len(values)}, distributions=AXIS, values=value)
        )
    return study


def drawn(study, sampler):
    study.sampler = sampler
    return study.ask(AXIS).params["x"]


def test_it_sees_the_best_that_completed_and_the_latest_in_order():
    values = [(float((7 * n) % 40),) for n in range(40)]
    values[0] = None
    seen = [trial.number for trial in best_and_latest(study_of(values), 20)]
    assert seen == [6, 12, *range(22, 40)]                               # 2 and 4 are the least of the first 22


def test_with_several_goals_the_ends_of_the_front_are_the_best():
    values = [(float(n), float(n)) for n in range(20)] + [(30.0, 0.0)] * 20
    assert [trial.number for trial in best_and_latest(study_of(values, ("minimize", "maximize")), 20)][:2] == [0, 19]


@pytest.mark.parametrize("history", [30, 100])
def test_while_a_study_is_no_longer_than_its_history_it_draws_what_tpe_draws(history):
    values = [(float((7 * n) % 29),) for n in range(29)]
    plain = drawn(study_of(values), TPESampler(**SETTINGS))
    assert drawn(study_of(values), BoundedTPESampler(history, **SETTINGS)) == plain


def test_what_it_draws_of_a_long_study_follows_from_what_it_sees():
    values = [(float((7 * n) % 61),) for n in range(60)]
    worse = [(value[0] + 100 * (value[0] > 2 and n < 40),) for n, value in enumerate(values)]
    assert drawn(study_of(values), BoundedTPESampler(20, **SETTINGS)) == drawn(
        study_of(worse), BoundedTPESampler(20, **SETTINGS)
    )
