"""Encoder blocks: one file per kind, one name in `BlockSpec` each."""

from cogito_ray.nn.blocks.cross import CrossSpec

BlockSpec = CrossSpec
