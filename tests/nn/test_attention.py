"""Attention: the look-up it starts as, and what it refuses."""

import pytest
import torch

from cogito_ray.nn.attention import Attention, attend_nearby, same
from cogito_ray.nn.position_encodings import Rotary, sinusoidal_code


@pytest.mark.parametrize("source_width", [16, 64])
def test_an_aligned_attention_starts_by_copying_what_stands_at_its_own_place(source_width: int):
    torch.manual_seed(0)
    attention = Attention(64, source_width, heads=2)
    attention.init_as_lookup(gain=50.0)                                 # narrow enough to be a hard look-up
    places = torch.arange(8) * 4
    here, there = (sinusoidal_code(places, width, base=20)[None] for width in (64, source_width))
    read = attention(here, there)[..., :source_width]
    assert torch.equal(torch.cdist(read, there).argmin(dim=-1)[0], torch.arange(8))
    torch.testing.assert_close(read, there, rtol=0, atol=0.05)  # what the other places leak at this gain


def test_hidden_sources_are_not_read():
    torch.manual_seed(0)
    attention, x, source = Attention(8, 8, heads=2), torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    visible = torch.tensor([[True] * 3 + [False] * 2] * 2)
    torch.testing.assert_close(attention(x, source, visible=visible), attention(x, source[:, :3]))


@pytest.mark.parametrize(("length", "window"), [(7, 3), (9, 3), (4, 16), (12, 1)])
@pytest.mark.parametrize("apart", [False, True])
def test_attention_to_what_is_nearby_is_attention_to_a_band_of_visible_places(length: int, window: int, apart: bool):
    torch.manual_seed(0)
    attention, x, at = Attention(8, 8, heads=2), torch.randn(2, length, 8), torch.arange(length)
    rotary, cut = Rotary(at.expand(2, length)), torch.tensor([[2], [3]])
    starts = torch.where(at < cut, 0, cut) if apart else None
    band = ((at[:, None] - at).abs() <= window).expand(2, -1, -1)
    visible = band if starts is None else band & same(starts, starts)
    found = attend_nearby(attention, x, window, starts=starts, rotary=rotary)
    torch.testing.assert_close(found, attention(x, x, visible=visible, rotary=rotary, source_rotary=rotary))


def test_a_width_that_heads_cannot_share_is_refused():
    with pytest.raises(ValueError, match="width 10 is not divisible by 4 heads"):
        Attention(10, 10, heads=4)


def test_shares_are_what_is_read():
    """Values that copy the source and an output that copies values: what is read is the mean of sources by share."""
    torch.manual_seed(0)
    attention, x, source = Attention(8, 8, heads=1), torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    with torch.no_grad():
        attention.key_value.weight[8:] = attention.out.weight[:] = torch.eye(8)
        attention.out.bias.zero_()
    visible = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    weights = attention.attention_weights(x, source, visible=visible)[:, 0]      # (B, Q, S)
    assert (weights[1, :, 3:] == 0).all()
    torch.testing.assert_close(weights @ source, attention(x, source, visible=visible))
