"""What draws the points of a sweep: the kinds of samplers, each built as Optuna has it.

Every draw is made by a fresh one: it follows from a seed and from what Optuna's study holds, and from nothing else.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from cogito_ray.base_spec import Spec
from cogito_ray.spec_registry import OpenUnion

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@dataclass(frozen=True)
class Abilities:
    """What sweeps a sampler is for; others are refused. Axes with conditions must be no trouble to any."""

    many_goals: bool = True
    constraints: bool = True
    least_numbers: int = 0
    """Axes of numbers, choices not among them, that it needs."""
    takes_notes: bool = False
    """Does it go by what it wrote into the study at earlier draws? A resumed search lets it write that again."""


class TpeSpec(Spec):
    """Tree-structured Parzen estimator (arXiv:2304.11127)."""

    kind: Literal["tpe"] = "tpe"
    abilities: ClassVar[Abilities] = Abilities()
    startup_trials: PositiveInt | None = None
    """Trials that are drawn at random first; null = a quarter of the budget, from 4 to 10."""
    history: int = Field(default=500, ge=50)
    """Trials that it learns from, of more the best tenth and the latest: a draw takes some 15 microseconds for each."""

    def build(self, seed: int, *, trials: int, conditional: bool) -> "BaseSampler":
        """For a sweep of so many trials. `conditional`: do some axes vary at some points alone?"""
        from cogito_ray.sweeps.tpe_history import BoundedTPESampler

        startup = self.startup_trials or _startup(trials)
        settings = {"multivariate": True, "group": conditional, "constant_liar": True, "n_startup_trials": startup}
        return BoundedTPESampler(self.history, seed=seed, **settings)


class GpSpec(Spec):
    """Gaussian process with log expected improvement (arXiv:2310.20708): slow, but good for few dear trials."""

    kind: Literal["gp"] = "gp"
    abilities: ClassVar[Abilities] = Abilities()
    startup_trials: PositiveInt | None = None
    """Trials that are drawn at random first; null = a quarter of the budget, from 4 to 10."""

    def build(self, seed: int, *, trials: int, conditional: bool) -> "BaseSampler":
        """For a sweep of so many trials."""
        from optuna.samplers import GPSampler

        return GPSampler(seed=seed, n_startup_trials=self.startup_trials or _startup(trials))


class Nsga2Spec(Spec):
    """Evolution by fronts (10.1109/4235.996017), for hundreds of trials."""

    kind: Literal["nsga2"] = "nsga2"
    abilities: ClassVar[Abilities] = Abilities(takes_notes=True)    # generations
    population_size: int | None = Field(default=None, ge=2)
    """Trials of a generation; null = a fifth of the budget, from 4 to 50."""

    def build(self, seed: int, *, trials: int, conditional: bool) -> "BaseSampler":
        """For a sweep of so many trials."""
        from optuna.samplers import NSGAIISampler

        return NSGAIISampler(seed=seed, population_size=self.population_size or min(50, max(4, trials // 5)))


class CmaEsSpec(Spec):
    """Covariance matrix adaptation (arXiv:1604.00772), for one goal over numbers."""

    kind: Literal["cmaes"] = "cmaes"
    abilities: ClassVar[Abilities] = Abilities(
        many_goals=False, constraints=False, least_numbers=2, takes_notes=True    # the matrix
    )

    def build(self, seed: int, *, trials: int, conditional: bool) -> "BaseSampler":
        """For any sweep."""
        from optuna.samplers import CmaEsSampler

        return CmaEsSampler(seed=seed, warn_independent_sampling=False)


class RandomSpec(Spec):
    """Every point by itself, at random."""

    kind: Literal["random"] = "random"
    abilities: ClassVar[Abilities] = Abilities()

    def build(self, seed: int, *, trials: int, conditional: bool) -> "BaseSampler":
        """For any sweep."""
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)


class GridSpec(Spec):
    """Every point of the space once."""

    kind: Literal["grid"] = "grid"
    abilities: ClassVar[Abilities] = Abilities()

    def build(self, seed: int, *, trials: int, conditional: bool) -> "BaseSampler":
        """One with nothing to draw: all axes are crossed."""
        return RandomSpec().build(seed, trials=trials, conditional=conditional)


SamplerSpec = Annotated[
    TpeSpec | GpSpec | Nsga2Spec | CmaEsSpec | RandomSpec | GridSpec,
    OpenUnion("sampler", by_name=True)
]


def _startup(trials: int) -> int:
    return min(10, max(4, trials // 4))
