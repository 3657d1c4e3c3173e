"""Decoders: one file per kind (or family), one name in `DecoderSpec` each."""

from typing import Annotated

from pydantic import Field

from cogito_ray.nn.decoders.diffusion_decoder import DiffusionDecoderSpec
from cogito_ray.nn.decoders.perceiver_decoder import PerceiverDecoderSpec, PositionDecoderSpec
from cogito_ray.nn.decoders.weighted_sum import WeightedDecoderSpec

DecoderSpec = Annotated[
    PositionDecoderSpec | PerceiverDecoderSpec | WeightedDecoderSpec | DiffusionDecoderSpec,
    Field(discriminator="kind"),
]
