"""Which of a winner's settings matter."""

from pydantic import Field

from cogito_ray.base_spec import Spec
from cogito_ray.sweeps.follow_ups.run_seeds import MOST_SEEDS


class SimplifySpec(Spec):
    """Takes back each setting in which the winner differs from the base run, alone, and runs it again under the seeds
    that the winner is run again with, too; then takes back together what is not needed (cf. Ax's BONSAI)."""

    tolerance: float = Field(default=0.005, ge=0, lt=1)
    """Share of the goal's value that a setting may be worth at most, its interval included, not to be needed."""
    seeds: int = Field(default=3, ge=2, le=MOST_SEEDS)
    """Of each. They are those of `seeds`, so that runs which were made for it are not made again."""
