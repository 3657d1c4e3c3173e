"""What trials are ranked by."""

from typing import Literal

from cogito_ray.spec import Spec

Mode = Literal["min", "max"]


class GoalSpec(Spec):
    metric: str
    """One that every run reports, such as eval/reconstruction_nats."""
    mode: Mode
