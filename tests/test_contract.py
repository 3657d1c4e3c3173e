"""Every kind with every kind that a user may name together, as whole runs on a tiny model.

A new kind is found through its union: it is covered as soon as it exists. Regularisers, objectives and policies have
their suites at their own places.
"""

from typing import Any

import pytest
from model_choices import MODELS, fitting
from pydantic import ValidationError

from cogito_ray.nn.blocks import BlockSpec
from cogito_ray.nn.decoders import DecoderSpec
from cogito_ray.run_spec import RunSpec
from cogito_ray.spec_registry import name_of
from cogito_ray.testing import BlockSuite, DecoderSuite, ModelSuite
from cogito_ray.testing.tiny_runs import kinds, run, run_with

ORDERED = {"funnel", "pretrained"}
"""Token stages that pool neighbours or read tokens as a sequence."""


@pytest.fixture
def tiny(place: tuple[str, ...], kind: str) -> RunSpec:
    return fitting(place, kind)


@pytest.mark.parametrize(("place", "kind"), MODELS, ids=lambda part: part if isinstance(part, str) else part[-1])
class TestEveryChoiceInAModel(ModelSuite):
    def reads_order(self, tiny: RunSpec) -> bool:
        return tiny.model.encoder.tokens.kind in ORDERED


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("block", kinds(BlockSpec), ids=name_of)
class TestBlocks(BlockSuite):
    @pytest.fixture
    def tiny(self, block: type, tied: bool) -> RunSpec:
        return run(model={"encoder": {"block": {"kind": name_of(block)}, "depth": 2, "tied": tied}})


class TestBixtOfSharedScores(ModelSuite):
    @pytest.fixture
    def tiny(self) -> RunSpec:
        return run(model={"encoder": {"block": {"kind": "bixt", "shared": True}}})


class TestFunnelPooledToTheConcepts(ModelSuite):
    def reads_order(self, tiny: RunSpec) -> bool:
        return True

    @pytest.fixture
    def tiny(self) -> RunSpec:
        tokens = {"kind": "funnel", "layers": 1, "halvings": 2}
        model = {"concepts": 4, "token_width": 8, "latents": {"kind": "pooled"}, "encoder": {"tokens": tokens}}
        return run(model=model)


@pytest.mark.parametrize("order", ["rotary", "contextual"])
class TestAnchoredConceptsThatKnowTheirOrder(ModelSuite):
    @pytest.fixture
    def tiny(self, order: str) -> RunSpec:
        return run(model={"latents": {"kind": "anchored", order: True}})


class TestCrossThatReadsWeighedContents(ModelSuite):
    @pytest.fixture
    def tiny(self) -> RunSpec:
        block = {"kind": "cross", "values": "contents"}
        return run(model={"encoder": {"block": block}, "embedding": {"frequency_weight": 1e-3}})


@pytest.mark.parametrize("decoder", kinds(DecoderSpec), ids=name_of)
class TestDecoders(DecoderSuite):
    @pytest.fixture
    def tiny(self, decoder: type) -> RunSpec:
        return run_with(decoder=decoder())


REFUSALS = [
    (
        {"loss": {"weighting": {"kind": "fixed", "weights": {"reconstruction": 0}}}},
        r"loss\.weighting\.weights: \['reconstruction'\] weigh 0, so that no task trains the encoder",
    ),
    (
        {"loss": {"contrast": {"kind": "halves"}}, "training": {"batch": 4, "micro_batch": 1}},
        r"loss\.contrast 'halves' tells a text from the others .* make training\.micro_batch 2 or more",
    ),
    (
        {"loss": {"contrast": {"kind": "halves"}}, "training": {"batch": 4}, "workers": 4},
        r"make training\.micro_batch 2 or more",
    ),
    (
        {"loss": {"regularisers": [{"kind": "vicreg", "variance": 0, "covariance": 0}]}},
        "both weights are 0, so that nothing is regularised",
    ),
    (
        {"model": {"decoder": {"kind": "perceiver"}}, "objective": {"kind": "tsdae"}},
        r"model\.decoder 'perceiver' reads \['ids'\], which objective 'tsdae' does not give",
    ),
    ({"model": {"decoder": None}}, "model.decoder: nothing trains the encoder; set it, loss.contrast, or both"),
    (
        {"loss": {"regularisers": [{"kind": "mst"}], "weighting": {"kind": "kendall_gal"}}},
        r"loss\.weighting 'kendall_gal' would give \['mst'\] the largest weight",
    ),
    (
        {"loss": {"weighting": {"kind": "fixed", "weights": {"vicreg": 0.1}}}},
        r"loss\.weighting\.weights names \['vicreg'\], but the terms of this run are \['reconstruction'\]",
    ),
    (
        {"model": {"concepts": 17}, "loss": {"regularisers": [{"kind": "orthogonality"}]}},
        "'orthogonality' cannot be met by 17 concepts of width 16; use at most 16 concepts or 'soft_orthogonality'",
    ),
    (
        {"model": {"attention": "document", "latents": {"kind": "plain"}, "decoder": {"kind": "weighted"}}},
        r"'document': latents 'plain' cannot tell the documents of a row apart.*\n.*decoder 'weighted' cannot tell",
    ),
    (
        {"model": {"attention": "document"}, "objective": {"kind": "prefix"}},
        r"model\.attention 'document': objective 'prefix' does not treat the documents of a row alike",
    ),
    (
        {"model": {"attention": "document"}, "evaluation": {"reference": {"kind": "prefix"}}},
        r"model\.attention 'document': evaluation\.reference 'prefix' does not treat",
    ),
    (
        {"model": {"attention": "document"}, "loss": {"contrast": {"kind": "halves"}}},
        r"model\.attention 'document': loss\.contrast 'halves' compares whole rows",
    ),
    (
        {"model": {"attention": "document"}, "data": {"packing": "document"}},
        r"under data\.packing 'document' each row holds one document already",
    ),
    ({"model": {"width": 15}}, "width 15 is not divisible by 2 heads"),
    ({"model": {"widht": 16}}, "Extra inputs are not permitted"),
    ({"objective": {"kind": "mlm", "random_share": 0.7, "kept_share": 0.7}}, "is 1.4, more than the chosen tokens"),
    ({"objective": {"kind": "cloze"}}, "'mlm'"),
    ({"training": {"batch": 10}, "workers": 4}, r"training\.batch 10 cannot be shared by 4 workers"),
]


@pytest.mark.parametrize(("over", "message"), REFUSALS, ids=lambda part: part[:40] if isinstance(part, str) else "")
def test_a_run_that_cannot_work_is_refused_with_its_reason(over: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        run(**over)


def test_several_faults_of_a_run_are_told_at_once():
    with pytest.raises(ValidationError) as refused:
        run(loss={"weighting": {"kind": "fixed", "weights": {"vicreg": 1}}}, training={"batch": 10}, workers=4)
    assert "loss.weighting.weights" in str(refused.value)
    assert "training.batch" in str(refused.value)
