"""Who is stopped early: the kinds of policies."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from cogito_ray.spec_registry import OpenUnion
from cogito_ray.sweeps.early_stopping.asha import AshaSpec, ParetoAshaSpec
from cogito_ray.sweeps.early_stopping.hyperband import HyperbandSpec
from cogito_ray.sweeps.early_stopping.median_rule import MedianSpec
from cogito_ray.sweeps.early_stopping.policy import Policy, PolicySpec, Verdict
from cogito_ray.sweeps.early_stopping.population_based_training import PopulationSpec
from cogito_ray.sweeps.goals.goal_spec import Aim


class NoStoppingSpec(PolicySpec):
    """Every trial runs to its last step."""

    kind: Literal["none"] = "none"
    many_goals: ClassVar[bool] = True

    def policy(self, steps: int, aim: Aim, seed: int = 0) -> Policy:
        return NoStopping()


class NoStopping(Policy):
    """Keeps everybody."""

    def report(self, trial: str, step: int, metrics: Mapping[str, float]) -> Verdict:
        return Verdict(keep=True)


StoppingSpec = Annotated[
    NoStoppingSpec | AshaSpec | ParetoAshaSpec | HyperbandSpec | MedianSpec | PopulationSpec,
    OpenUnion("early_stopping")
]
