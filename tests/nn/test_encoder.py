"""The encoder: tied depth, iteration, warm starts, other lengths."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from cogito_ray.nn.attention import document_starts
from cogito_ray.nn.blocks.block_interface import BlockContext
from cogito_ray.nn.model import ConceptModel, ModelSpec
from cogito_ray.nn.token_stages.token_stage_interface import Tokens
from cogito_ray.text.vocabulary_info import Vocabulary

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


def test_dropout_leaves_out_a_share_in_training_alone():
    whole, dropping = build(), build(dropout=0.5)
    assert torch.equal(dropping.encoder(*seen()), whole.encoder(*seen()))
    dropping.train()
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(dropping.encoder(*seen()))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    embedding = dropping.encoder.embedding
    embedded = embedding(*seen()[:2])
    kept = embedded != 0
    torch.testing.assert_close(embedded[kept], 2 * embedding.eval()(*seen()[:2])[kept])


def test_a_tied_encoder_can_be_iterated_further():
    model = build(encoder={"depth": 2, "tied": True})
    model.encoder.set_depth(4)
    further = model.encoder.every_layer(*seen())
    model.encoder.set_depth(2)
    assert len(further) == 4
    torch.testing.assert_close(model.encoder.norm(further[1]), model.encoder(*seen()))


def test_an_untied_encoder_cannot_be_iterated():
    with pytest.raises(ValueError, match="only a tied encoder can be iterated; this one has 2 blocks"):
        build().encoder.set_depth(4)


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


@pytest.mark.parametrize("latents", ["plain", "anchored", "sinusoidal", "learned"])
def test_concepts_follow_the_order_of_their_latents(latents: str):
    model, order = build(latents={"kind": latents}), torch.tensor([2, 0, 1])
    concepts = model.encoder(*seen())
    with torch.no_grad():
        for part in (model.encoder.latents.vectors, model.encoder.latents.codes):
            if part is not None:
                part.copy_(part[order].clone())
    torch.testing.assert_close(model.encoder(*seen()), concepts[:, order])


@pytest.mark.parametrize(
    "latents",
    [
        {"kind": "rotary", "std": 1.0},
        {"kind": "contextual", "std": 1.0},
        {"kind": "anchored", "rotary": True},
        {"kind": "anchored", "contextual": True},
    ],
    ids=str,
)
def test_concepts_that_know_their_order_are_a_sequence(latents: dict[str, object]):
    model, order = build(latents=latents), torch.tensor([2, 0, 1])
    if model.encoder.latents.contextual is not None:
        torch.nn.init.normal_(model.encoder.latents.contextual.table)
    concepts = model.encoder(*seen())
    with torch.no_grad():
        model.encoder.latents.vectors.copy_(model.encoder.latents.vectors[order].clone())
    assert (model.encoder(*seen()) - concepts[:, order]).abs().max() > 1e-3


def test_under_a_funnel_of_as_many_tokens_as_concepts_each_pooled_concept_begins_as_one():
    model = build(
        concepts=2,
        latents={"kind": "pooled", "noise": 0},
        encoder={"tokens": {"kind": "funnel", "layers": 1, "halvings": 2}},
    )
    ids, positions, _ = seen()
    tokens = model.encoder.stage(ids, Tokens(model.encoder.embedding(ids, positions), positions, None))
    torch.testing.assert_close(model.encoder.latents(tokens), tokens.vectors)


def test_pooled_concepts_are_means_of_the_visible_tokens_of_their_segments_or_their_code_where_there_are_none():
    model = build(concepts=2, latents={"kind": "pooled", "noise": 0})
    vectors, positions = torch.randn(1, 3, 8), torch.tensor([[0, 3, 5]])
    found = model.encoder.latents(Tokens(vectors, positions, torch.tensor([[True, True, False]])))
    expected = [vectors[0, :2].mean(dim=0), model.encoder.latents.codes[1]]
    torch.testing.assert_close(found[0], torch.stack(expected))


def test_an_anchored_concept_first_reads_its_own_segment():
    model = build(width=64, concepts=4, encoder={"depth": 1})
    ids, positions, _ = seen()
    tokens = model.encoder.embedding(ids, positions)
    block = model.encoder.blocks[0]
    query, key, _ = block.cross_attention.project(
        block.cross_norm(model.encoder.latents(Tokens(tokens, positions, None))), block.tokens_norm(tokens)
    )
    share = (query @ key.mT / query.shape[-1] ** 0.5).softmax(dim=-1).mean(dim=(0, 1))     # (C, N)
    own = share.unflatten(1, (4, 2)).sum(dim=2).diagonal()
    assert (own > 0.5).all(), own                              # of 4 segments: chance is a quarter


def test_of_contents_concepts_read_no_positions():
    model = build(concepts=4, encoder={"depth": 1, "block": {"kind": "cross", "values": "contents"}})
    ids, positions, visible = seen()
    model.encoder.embedding.token.weight.data.zero_()                      # positions are all that is left to read
    read, concepts, context = model.encoder._before_blocks(ids, positions, visible, None)
    block = model.encoder.blocks[0]
    torch.testing.assert_close(block.cross_attend(concepts, read.vectors, context), concepts)


def test_tokens_count_by_their_inverse_frequency_where_concepts_read_them_and_wholly_where_they_are_rebuilt():
    torch.manual_seed(0)
    frequency = torch.arange(1, 33) / torch.arange(1, 33).sum()
    spec = ModelSpec.model_validate({"width": 8, "heads": 2, "embedding": {"frequency_weight": 0.01}})
    embedding, ids = spec.build(WORDS, LENGTH, frequency.log()).encoder.embedding, torch.arange(32)
    weights = 0.01 / (0.01 + frequency)
    torch.testing.assert_close(embedding.contents(ids), weights[:, None] * embedding.tokens(ids))
    torch.testing.assert_close(embedding.tokens(ids), embedding.scale * embedding.token.weight)


def test_a_checkpoint_holds_what_tokens_count():
    spec = ModelSpec.model_validate({"width": 8, "heads": 2, "embedding": {"frequency_weight": 0.01}})
    trained = spec.build(WORDS, LENGTH, torch.full((32,), -3.0))
    read = spec.build(WORDS, LENGTH)
    read.load_state_dict(trained.state_dict())
    assert torch.equal(read.encoder.embedding.weights, trained.encoder.embedding.weights)


def test_attention_weights_are_those_of_each_block_on_what_it_is_given():
    model = build(encoder={"block": {"kind": "cross"}, "depth": 2})
    tokens, (first, second) = model.encoder.attention_weights(*seen())
    latents, context = model.encoder.latents(tokens), BlockContext(seen()[2])
    torch.testing.assert_close(first, model.encoder.blocks[0].attention_weights(latents, tokens.vectors, context))
    after = model.encoder.every_layer(*seen())[0]
    torch.testing.assert_close(second, model.encoder.blocks[1].attention_weights(after, tokens.vectors, context))


@pytest.mark.parametrize("tokens", ["raw", "funnel"])
@pytest.mark.parametrize(("kind", "more"), [("cross", {}), ("bixt", {}), ("bixt", {"shared": True}), ("slot", {})])
def test_without_padding_no_attention_has_a_mask_and_what_is_read_is_the_same(
    kind: str, more: dict[str, object], tokens: str
):
    encoder = build(encoder={"block": {"kind": kind, **more}, "tokens": {"kind": tokens}}).encoder
    ids, positions, _ = seen()
    masks = list[Tensor | None]()

    class Masks(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function is torch.nn.functional.scaled_dot_product_attention:
                masks.append(kwargs["attn_mask"])
            return function(*args, **kwargs or {})

    with Masks():
        unmasked = encoder(ids, positions, None)
    assert all(mask is None for mask in masks)
    assert torch.equal(unmasked, encoder(ids, positions, torch.ones_like(ids, dtype=torch.bool)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_without_padding_flash_attention_alone_runs_the_encoder_on_cuda():
    encoder = build(width=32).encoder.cuda()
    ids, positions, visible = (each.cuda() for each in seen())
    with torch.autocast("cuda", torch.bfloat16), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        encoder(ids, positions, None)
        with pytest.raises(RuntimeError, match="No available kernel"):
            encoder(ids, positions, visible)


def test_attention_weights_of_pooled_tokens_say_where_these_stand():
    model = build(encoder={"tokens": {"kind": "funnel"}})
    tokens, weights = model.encoder.attention_weights(*seen())
    assert tokens.positions[0].tolist() == [0.5, 2.5, 4.5, 6.5]
    assert weights[-1].shape == (2, 2, 3, 4)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary"])
def test_a_document_is_read_alike_wherever_in_its_row_it_stands(positions: str):
    model = build(
        concepts=4,
        latents={"kind": "anchored", "noise": 0},       # else every concept has a start of its own
        embedding={"positions": {"kind": positions}},
        encoder={"block": {"kind": "bixt"}},
    )
    first, second = torch.tensor([[5, 6, 7, 2]]), torch.tensor([[9, 8, 9, 2]])
    rows = torch.cat([torch.cat([first, second], dim=1), torch.cat([second, first], dim=1)])        # (2, 8)
    places = torch.arange(8).expand_as(rows)
    starts = document_starts(rows, WORDS)
    concepts = model.encoder(rows, places, rows > 0, starts)
    assert model.decoder is not None
    rebuilt = model.decoder(concepts, places, None, None, starts)
    torch.testing.assert_close(concepts[0], concepts[1].roll(2, dims=0), rtol=1e-4, atol=1e-5)      # sums of floats
    torch.testing.assert_close(rebuilt[0], rebuilt[1].roll(4, dims=0), rtol=1e-4, atol=1e-5)
