"""Token stages: one file per kind (or family), one name in `TokenStageSpec` each."""

from typing import Annotated

from cogito_ray.nn.token_stages.funnel import FunnelSpec
from cogito_ray.nn.token_stages.pretrained import PretrainedSpec
from cogito_ray.nn.token_stages.projection import ProjectedSpec, RawSpec
from cogito_ray.spec_registry import OpenUnion

TokenStageSpec = Annotated[RawSpec | ProjectedSpec | FunnelSpec | PretrainedSpec, OpenUnion("token_stage")]
