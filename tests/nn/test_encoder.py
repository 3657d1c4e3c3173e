"""The encoder: tied depth, iteration, warm starts, other lengths."""

from typing import Any

import pytest
import torch
from torch import Tensor

from cogito_ray.nn.blocks.base import Scene
from cogito_ray.nn.encoder import tied_from_untied
from cogito_ray.nn.model import ConceptModel, ModelSpec
from cogito_ray.text.vocabulary import Vocabulary

WORDS = Vocabulary(32, 0, 1, 2, (0, 1, 2))
LENGTH = 8


def build(**over: Any) -> ConceptModel:
    torch.manual_seed(0)
    settings = {"width": 8, "heads": 2, "concepts": 3, "decoder": {"kind": "position"}} | over
    return ModelSpec.model_validate(settings).build(WORDS, LENGTH).eval()


def seen(stretch: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    ids = torch.randint(3, 32, (2, LENGTH), generator=torch.Generator().manual_seed(0))
    return ids, stretch * torch.arange(LENGTH).expand_as(ids), torch.ones_like(ids, dtype=torch.bool)


@pytest.mark.parametrize("block", ["cross", "slot"])
def test_a_tied_block_applied_thrice_equals_three_equal_blocks(block: str):
    tied = build(encoder={"block": {"kind": block}, "depth": 3, "tied": True})
    untied = build(encoder={"block": {"kind": block}, "depth": 3})
    state = tied.state_dict()
    copies = {key.replace("blocks.0", f"blocks.{n}"): value for key, value in state.items() for n in range(3)}
    untied.load_state_dict(copies)
    assert torch.equal(tied.encoder(*seen()), untied.encoder(*seen()))


@pytest.mark.parametrize("block", [{"kind": "cross"}, {"kind": "bixt"}, {"kind": "slot"}], ids=str)
def test_a_tied_model_starts_from_layer_0_of_an_untied_one(block: dict[str, Any]):
    untied = build(encoder={"block": block, "depth": 2})
    tied = build(encoder={"block": block, "depth": 2, "tied": True})
    tied.load_state_dict(tied_from_untied(untied.state_dict()))
    torch.testing.assert_close(tied.encoder.every_layer(*seen())[0], untied.encoder.every_layer(*seen())[0])


def test_a_tied_encoder_can_be_iterated_further():
    model = build(encoder={"depth": 2, "tied": True})
    model.encoder.iterate(4)
    further = model.encoder.every_layer(*seen())
    model.encoder.iterate(2)
    assert len(further) == 4
    torch.testing.assert_close(model.encoder.norm(further[1]), model.encoder(*seen()))


def test_an_untied_encoder_cannot_be_iterated():
    with pytest.raises(ValueError, match="only a tied encoder can be iterated; this one has 2 blocks"):
        build().encoder.iterate(4)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary"])
@pytest.mark.parametrize("decoder", ["position", "weighted"])
def test_at_twice_the_length_every_other_place_is_what_it_was(positions: str, decoder: str):
    model = build(embedding={"positions": {"kind": positions}}, decoder={"kind": decoder})
    concepts = model.encoder(*seen())
    hidden = model.decoder(concepts, seen()[1], None, None)
    model.resize(2 * LENGTH)
    torch.testing.assert_close(model.encoder(*seen(stretch=2)), concepts)
    torch.testing.assert_close(model.decoder(concepts, seen(stretch=2)[1], None, None), hidden)
    last = model.encoder(seen()[0], seen()[1] + LENGTH, seen()[2])
    assert not torch.allclose(last, concepts)


@pytest.mark.parametrize("start", ["plain", "anchored", "sinusoidal", "learned"])
def test_concepts_follow_the_order_of_their_starts(start: str):
    model, order = build(start={"kind": start}), torch.tensor([2, 0, 1])
    concepts = model.encoder(*seen())
    with torch.no_grad():
        for part in (model.encoder.start.vectors, model.encoder.start.codes):
            if part is not None:
                part.copy_(part[order].clone())
    torch.testing.assert_close(model.encoder(*seen()), concepts[:, order])


def test_concepts_that_turn_by_their_number_are_a_sequence():
    model, order = build(start={"kind": "rotary", "std": 1.0}), torch.tensor([2, 0, 1])
    concepts = model.encoder(*seen())
    with torch.no_grad():
        model.encoder.start.vectors.copy_(model.encoder.start.vectors[order].clone())
    assert (model.encoder(*seen()) - concepts[:, order]).abs().max() > 1e-3


def test_an_anchored_concept_starts_by_reading_its_own_segment():
    model = build(width=64, concepts=4, encoder={"depth": 1})
    ids, positions, _ = seen()
    tokens = model.encoder.embedding(ids, positions)
    block = model.encoder.blocks[0]
    query, key, _ = block.read.project(
        block.norm_read(model.encoder.start(2)), block.norm_tokens(tokens)
    )
    share = (query @ key.mT / query.shape[-1] ** 0.5).softmax(dim=-1).mean(dim=(0, 1))     # (C, N)
    own = share.unflatten(1, (4, 2)).sum(dim=2).diagonal()
    assert (own > 0.5).all(), own                              # of 4 segments: chance is a quarter


def test_readings_are_those_of_each_block_on_what_it_is_given():
    model = build(encoder={"block": {"kind": "cross"}, "depth": 2})
    tokens, (first, second) = model.encoder.readings(*seen())
    start, scene = model.encoder.start(2), Scene(seen()[2])
    torch.testing.assert_close(first, model.encoder.blocks[0].shares(start, tokens.vectors, scene))
    after = model.encoder.every_layer(*seen())[0]
    torch.testing.assert_close(second, model.encoder.blocks[1].shares(after, tokens.vectors, scene))


def test_readings_of_pooled_tokens_say_where_these_stand():
    model = build(encoder={"tokens": {"kind": "funnel"}})
    tokens, shares = model.encoder.readings(*seen())
    assert tokens.places[0].tolist() == [0.5, 2.5, 4.5, 6.5]
    assert shares[-1].shape == (2, 2, 3, 4)
