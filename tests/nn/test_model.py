"""Models that cannot work are refused by their spec, with a way out."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from cogito_ray.nn.model import ModelSpec
from cogito_ray.text.vocabulary_info import Vocabulary

WORDS = Vocabulary(32, 0, 1, 2, (0, 1, 2))
REFUSALS = [
    ({"width": 10, "heads": 4}, "width 10 is not divisible by 4 heads"),
    ({"encoder": {"block": {"kind": "bixt"}}, "token_width": 6}, "token_width 6 is not divisible by 4 heads"),
    ({"encoder": {"tokens": {"kind": "funnel"}}, "token_width": 6}, "token_width 6 is not divisible by 4 heads"),
    ({"width": 12, "latents": {"kind": "rotary"}}, "not divisible by 4 heads of an even width, as rotary"),
    (
        {"latents": {"kind": "rotary"}, "encoder": {"block": {"kind": "slot"}}},
        "latents 'rotary' tells concepts apart when they read one another, which block 'slot' never lets them do",
    ),
    (
        {"token_width": 32, "embedding": {"positions": {"kind": "learned"}}, "decoder": {"kind": "position"}},
        "cannot use 'learned' positions of tokens of width 32; give it positions of its own",
    ),
    (
        {"encoder": {"block": {"kind": "cross", "values": "contents"}, "tokens": {"kind": "projected"}}},
        "values 'contents' are tokens as the embedding made them, which encoder.tokens 'projected' changes",
    ),
]


@pytest.mark.parametrize(("settings", "message"), REFUSALS, ids=lambda part: part[:30] if isinstance(part, str) else "")
def test_a_model_that_cannot_work_is_refused_with_its_reason(settings: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        ModelSpec.model_validate({"width": 128, "heads": 4} | settings)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary"])
@pytest.mark.parametrize("decoder", ["position", "perceiver", "diffusion"])
@pytest.mark.parametrize("token_width", [4, 8])
def test_decoders_train_positions_of_their_own(positions: str, decoder: str, token_width: int):
    torch.manual_seed(0)
    settings = {"width": 8, "heads": 2, "concepts": 3, "token_width": token_width}
    own = {"kind": decoder, "positions": {"kind": positions}}
    model = ModelSpec.model_validate(settings | {"decoder": own}).build(WORDS, length=6)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    ids = torch.randint(3, 32, (4, 6))
    places = torch.arange(6).expand_as(ids)
    concepts = model.encoder(ids, places, torch.ones_like(ids, dtype=torch.bool))
    hidden = model.decoder(concepts, places, ids, torch.rand(4))
    model.head.weighted_mean(hidden, ids, torch.ones(4, 6)).backward()
    assert [name for name, parameter in model.named_parameters() if not parameter.grad.any()] == []


def test_a_model_without_decoder_has_no_head_that_nothing_would_train():
    model = ModelSpec(width=8, heads=2, concepts=3).build(WORDS, length=6)
    assert model.decoder is None
    assert model.head is None


def test_shared_tables_are_saved_once():
    model = ModelSpec.model_validate({"width": 8, "heads": 2, "decoder": {"kind": "perceiver"}}).build(WORDS, length=6)
    state = model.state_dict()
    assert len({value.data_ptr() for value in state.values()}) == len(state)


def test_a_diffusion_decoder_starts_by_passing_its_queries_on():
    settings = {"width": 8, "heads": 2, "decoder": {"kind": "diffusion"}}
    model = ModelSpec.model_validate(settings).build(WORDS, length=6)
    ids, places = torch.randint(3, 32, (2, 6)), torch.arange(6).expand(2, 6)
    hidden = model.decoder(torch.randn(2, 16, 8), places, ids, torch.rand(2))
    assert torch.equal(hidden, model.encoder.embedding(ids, places))
