"""Pure functions of clean rows and a generator: what is hidden from the encoder and what must be predicted."""

from typing import Annotated

from pydantic import Field

from cogito_ray.objectives.masked_diffusion import DiffusionSpec
from cogito_ray.objectives.prefix_prediction import PrefixSpec
from cogito_ray.objectives.span_masking import PmiSpec, SpanSpec
from cogito_ray.objectives.token_deletion import TsdaeSpec
from cogito_ray.objectives.token_masking import MlmSpec

ObjectiveSpec = Annotated[
    MlmSpec | SpanSpec | PmiSpec | TsdaeSpec | DiffusionSpec | PrefixSpec, Field(discriminator="kind")
]
