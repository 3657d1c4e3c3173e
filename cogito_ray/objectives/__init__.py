"""Pretraining objectives, one file per kind, one name in `ObjectiveSpec` each: pure functions of clean rows and a
generator, which say what is hidden from the encoder and what must be predicted.

Every Spec says, as class variables, which optional fields of a `View` its `corrupt` `provides` to decoders, what it
`needs` to be counted in the corpus, and whether it `respects_documents`: treats all that share a row alike.
"""

from typing import Annotated

from cogito_ray.objectives.masked_diffusion import DiffusionSpec
from cogito_ray.objectives.prefix_prediction import PrefixSpec
from cogito_ray.objectives.span_masking import PmiSpec, SpanSpec
from cogito_ray.objectives.token_deletion import TsdaeSpec
from cogito_ray.objectives.token_masking import MlmSpec
from cogito_ray.spec_registry import OpenUnion

ObjectiveSpec = Annotated[
    MlmSpec | SpanSpec | PmiSpec | TsdaeSpec | DiffusionSpec | PrefixSpec, OpenUnion("objective")
]
