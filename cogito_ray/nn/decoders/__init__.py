"""Decoders: one file per kind (or family), one name in `DecoderSpec` each."""

from typing import Annotated

from pydantic import Field

from cogito_ray.nn.decoders.diffusion import DiffusionDecoderSpec
from cogito_ray.nn.decoders.perceiver import PerceiverDecoderSpec, PositionDecoderSpec
from cogito_ray.nn.decoders.weighted import WeightedDecoderSpec

DecoderSpec = Annotated[
    PositionDecoderSpec | PerceiverDecoderSpec | WeightedDecoderSpec | DiffusionDecoderSpec,
    Field(discriminator="kind"),
]
