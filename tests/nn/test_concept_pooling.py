"""Heads: one vector per text, whatever the order of concepts and whatever the padding."""

from typing import Any

import pytest
import torch

from cogito_ray.nn.concept_pooling import (
    AttentionPoolSpec,
    Classifier,
    CosineClassifier,
    EncoderInput,
    MeanPoolSpec,
    PairClassifier,
    QueryPoolSpec,
    SelfAttentionPoolSpec,
    ViaDecoderPoolSpec,
)
from cogito_ray.nn.model import ConceptModel, ModelSpec
from cogito_ray.text.vocabulary_info import Vocabulary

POOLS = [
    MeanPoolSpec(),
    AttentionPoolSpec(),
    QueryPoolSpec(),
    QueryPoolSpec(queries=3),
    QueryPoolSpec(queries=3, averaged=True),
    SelfAttentionPoolSpec(),
    ViaDecoderPoolSpec(),
]
every_pool = pytest.mark.parametrize("spec", POOLS, ids=repr)


def build(decoder: dict[str, Any] | None) -> ConceptModel:
    torch.manual_seed(0)
    settings = {"width": 8, "heads": 2, "concepts": 3, "decoder": decoder}
    return ModelSpec.model_validate(settings).build(Vocabulary(32, 0, 1, 2, (0, 1, 2)), length=6)


def text(padding: int = 0) -> EncoderInput:
    ids = torch.randint(3, 32, (4, 6), generator=torch.Generator().manual_seed(1))
    visible = torch.arange(6).expand_as(ids) < torch.tensor([[6], [4], [3], [1]])
    return EncoderInput(torch.where(visible, ids, padding), torch.arange(6).expand_as(ids), visible)


@every_pool
def test_padding_does_not_reach_the_vector(spec: Any):
    model, pool = build({"kind": "perceiver"}), spec.build(8, heads=2)
    torch.testing.assert_close(pool(model, text(padding=0)), pool(model, text(padding=9)))


def test_averaged_answers_are_the_mean_of_those_side_by_side():
    model, pools = build(None), []
    for averaged in (False, True):
        torch.manual_seed(3)
        pools.append(QueryPoolSpec(queries=3, averaged=averaged).build(8, heads=2))
    apart, mean = (pool(model, text()) for pool in pools)
    torch.testing.assert_close(mean, apart.unflatten(1, (3, 8)).mean(dim=1))


@every_pool
def test_the_order_of_concepts_does_not_matter(spec: Any):
    model, pool = build({"kind": "perceiver"}), spec.build(8, heads=2)
    before = pool(model, text())
    with torch.no_grad():
        model.encoder.latents.vectors.copy_(model.encoder.latents.vectors.flip(0))
    torch.testing.assert_close(pool(model, text()), before)


@every_pool
def test_every_parameter_of_a_classifier_is_trained(spec: Any):
    classifier = Classifier(build({"kind": "perceiver"}), spec.build(8, heads=2), labels=2)
    classifier(text()).logsumexp(dim=1).sum().backward()
    assert all(parameter.grad.any() for parameter in classifier.pool.parameters())
    assert all(parameter.grad.any() for parameter in classifier.classify.parameters())


@every_pool
def test_a_text_is_most_similar_to_itself(spec: Any):
    pair = PairClassifier(build({"kind": "perceiver"}), spec.build(8, heads=2), labels=2)
    torch.testing.assert_close(pair.similarity(text(), text()), torch.ones(4))
    turned = EncoderInput(*(part.roll(1, dims=0) for part in text()))
    assert (pair.similarity(text(), turned) < 0.9999).all()
    assert pair(text(), turned).shape == (4, 2)


def test_a_cosine_classifier_reads_the_cosine_alone_and_trains_the_encoder_through_it():
    model = build(None)
    pair = CosineClassifier(model, MeanPoolSpec().build(8, heads=2), labels=1)
    turned = EncoderInput(*(part.roll(1, dims=0) for part in text()))
    torch.testing.assert_close(pair(text(), text()), pair(turned, turned))     # whatever the texts say
    torch.testing.assert_close(pair(text(), turned), pair(turned, text()))
    assert (pair(text(), turned) < pair(text(), text())).all()
    pair(text(), turned).sum().backward()
    assert all(parameter.grad is not None for parameter in pair.classify.parameters())
    assert model.encoder.latents.vectors.grad.any()


def test_scores_that_are_divided_by_much_leave_the_plain_mean():
    model = build(None)
    attention, mean = AttentionPoolSpec(temperature=1e6).build(8, heads=2), MeanPoolSpec().build(8, heads=2)
    torch.testing.assert_close(attention(model, text()), attention.norm(mean(model, text())), rtol=1e-4, atol=1e-4)


def test_pooling_what_is_decoded_needs_a_decoder():
    with pytest.raises(ValueError, match="needs a model with a decoder"):
        ViaDecoderPoolSpec().build(8, heads=2)(build(None), text())
