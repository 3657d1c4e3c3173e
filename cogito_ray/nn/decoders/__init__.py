"""Decoders: one file per kind (or family), one name in `DecoderSpec` each."""

from typing import Annotated

from pydantic import Field

from cogito_ray.nn.decoders.perceiver import PerceiverDecoderSpec, PositionDecoderSpec

DecoderSpec = Annotated[PositionDecoderSpec | PerceiverDecoderSpec, Field(discriminator="kind")]
