"""TPE (arXiv:2304.11127) that learns from so many trials at most, the best and the latest: a draw costs as much as it
learns from, and in the density of the bad ones Optuna lets older trials weigh less anyway.
"""

from collections.abc import Container
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from cogito_ray.sweeps.goals.goal_spec import Merit
from cogito_ray.sweeps.goals.pareto_fronts import by_spread

BEST = 0.1
"""Share of the history that is for the best completed trials. TPE calls at most 25 good."""


class BoundedTPESampler(TPESampler):
    """Of a study with more than `history` trials it sees that many. For one draw: what it sees is settled once."""

    def __init__(self, history: int, **settings: Any):
        super().__init__(**settings)
        self._history, self._seen = history, (-1, list[FrozenTrial]())

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """See optuna, as of the others."""
        return super().infer_relative_search_space(self._bounded(study, trial), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Axes that all trials have."""
        return super().sample_relative(self._bounded(study, trial), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """One axis."""
        return super().sample_independent(self._bounded(study, trial), trial, param_name, param_distribution)

    def _bounded(self, study: Study, trial: FrozenTrial) -> Study:
        if trial.number < self._history:
            return study
        if self._seen[0] != trial.number:
            self._seen = trial.number, best_and_latest(study, self._history)
        return _Window(study, self._seen[1])


def best_and_latest(study: Study, most: int) -> list[FrozenTrial]:
    """So many of its trials, in order; those with several goals by fronts and spread."""
    trials = study.get_trials(deepcopy=False)
    best = int(BEST * most)
    older, latest = trials[: best - most], trials[best - most :]
    completed = [trial for trial in older if trial.state is TrialState.COMPLETE]
    signs = [1.0 if direction is StudyDirection.MINIMIZE else -1.0 for direction in study.directions]
    excesses = [sum(max(0.0, excess) for excess in trial.constraints.values()) for trial in completed]
    costs = [tuple(sign * value for sign, value in zip(signs, trial.values, strict=True)) for trial in completed]
    chosen = by_spread([Merit(*told) for told in zip(costs, excesses, strict=True)], best)
    return [*(completed[index] for index in sorted(chosen)), *latest]


class _Window(Study):
    """A study of which a sampler sees some trials."""

    def __init__(self, study: Study, seen: list[FrozenTrial]):
        super().__init__(study.study_name, study._storage, study.sampler, study.pruner)
        self._seen = seen

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        """Optuna's samplers ask this one alone."""
        return [trial for trial in self._seen if states is None or trial.state in states]
