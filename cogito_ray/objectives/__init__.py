"""Pure functions of clean rows and a generator: what is hidden from the encoder and what must be predicted."""

from typing import Annotated

from pydantic import Field

from cogito_ray.objectives.deletion import TsdaeSpec
from cogito_ray.objectives.masking import MlmSpec

ObjectiveSpec = Annotated[MlmSpec | TsdaeSpec, Field(discriminator="kind")]
