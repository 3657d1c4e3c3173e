"""Pure functions of clean rows and a generator: what is hidden from the encoder and what must be predicted."""

from typing import Annotated

from pydantic import Field

from cogito_ray.objectives.deletion import TsdaeSpec
from cogito_ray.objectives.diffusion import DiffusionSpec
from cogito_ray.objectives.masking import MlmSpec
from cogito_ray.objectives.prefix import PrefixSpec
from cogito_ray.objectives.spans import PmiSpec, SpanSpec

ObjectiveSpec = Annotated[
    MlmSpec | SpanSpec | PmiSpec | TsdaeSpec | DiffusionSpec | PrefixSpec, Field(discriminator="kind")
]
