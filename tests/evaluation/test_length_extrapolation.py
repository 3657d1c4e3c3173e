"""Rows of other lengths than those of training."""

import pytest
import torch
from length_extrapolation import nats_by_position

from cogito_ray.evaluation.validation.held_out_loss import HeldOutLoss
from cogito_ray.nn.model import ModelSpec
from cogito_ray.objectives.token_deletion import TsdaeSpec
from cogito_ray.text.vocabulary_info import Vocabulary

WORDS = Vocabulary(32, 0, 1, 2, (0, 1, 2))
LENGTH = 16


def model(**over: object):
    torch.manual_seed(0)
    settings = {"width": 16, "heads": 2, "concepts": 4, "decoder": {"kind": "position"}} | over
    return ModelSpec.model_validate(settings).build(WORDS, LENGTH).eval()


def rows(count: int, length: int) -> torch.Tensor:
    return torch.randint(3, 32, (count, length), generator=torch.Generator().manual_seed(0))


def test_at_the_trained_length_quarters_average_to_the_held_out_loss():
    """All tokens are targets, so quarters weigh alike; other masks are drawn, which moves the mean a little."""
    built = model()
    quarters = nats_by_position(built, rows(64, LENGTH), TsdaeSpec(), WORDS)
    held_out = HeldOutLoss(rows(64, LENGTH), TsdaeSpec(), WORDS)(built)["eval/reconstruction_nats"]
    assert len(quarters) == 4
    assert sum(quarters) / 4 == pytest.approx(held_out, rel=0.02)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary"])
def test_longer_rows_are_read_and_the_model_is_left_as_it_was(positions: str):
    built = model(embedding={"positions": {"kind": positions}})
    before = nats_by_position(built, rows(4, LENGTH), TsdaeSpec(), WORDS)
    assert all(nats > 0 for nats in nats_by_position(built, rows(2, 4 * LENGTH), TsdaeSpec(), WORDS))
    assert nats_by_position(built, rows(4, LENGTH), TsdaeSpec(), WORDS) == before


def test_what_is_rebuilt_badly_at_one_end_shows_there():
    """A head that knows one word, and rows that hold it in their first half alone."""
    built = model()
    with torch.no_grad():
        built.head.bias[5] = 20.0
    halves = torch.full((4, LENGTH), 5)
    halves[:, LENGTH // 2 :] = 9
    first, second, third, fourth = nats_by_position(built, halves, TsdaeSpec(), WORDS)
    assert max(first, second) < 1 < 10 < min(third, fourth)


def test_a_model_without_a_decoder_is_refused():
    with pytest.raises(ValueError, match="without a decoder rebuilds nothing"):
        nats_by_position(model(decoder=None), rows(1, LENGTH), TsdaeSpec(), WORDS)
