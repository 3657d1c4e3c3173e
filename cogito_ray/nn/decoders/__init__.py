"""Decoders: one file per kind (or family), one name in `DecoderSpec` each."""

from typing import Annotated

from cogito_ray.nn.decoders.denoising_decoder import DenoisingDecoderSpec
from cogito_ray.nn.decoders.diffusion_decoder import DiffusionDecoderSpec
from cogito_ray.nn.decoders.perceiver_decoder import PerceiverDecoderSpec, PositionDecoderSpec
from cogito_ray.nn.decoders.weighted_sum import WeightedSumDecoderSpec
from cogito_ray.spec_registry import OpenUnion

DecoderSpec = Annotated[
    PositionDecoderSpec | PerceiverDecoderSpec | WeightedSumDecoderSpec | DiffusionDecoderSpec | DenoisingDecoderSpec,
    OpenUnion("decoder"),
]
