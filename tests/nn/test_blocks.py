"""Blocks: BiXT's two directions, slots' slots, and concepts as a set."""

from typing import Any

import pytest
import torch
from torch import Tensor

from cogito_ray.nn.blocks.bixt_block import BixtSpec
from cogito_ray.nn.blocks.block_interface import BlockContext, Sizes
from cogito_ray.nn.blocks.perceiver_block import CrossBlock, CrossSpec
from cogito_ray.nn.blocks.slot_attention import SlotAttention, SlotSpec

SIZES = Sizes(width=8, token_width=4, heads=2, hidden=12)
VISIBLE = torch.tensor([[True] * 5, [True, True, True, False, False]])
EVERY = [CrossSpec(), CrossSpec(token_norm=False), BixtSpec(), BixtSpec(shared=True), SlotSpec()]


def draw() -> tuple[Tensor, Tensor]:
    """Concepts (B, C, D) and tokens (B, K, T)."""
    torch.manual_seed(0)
    return torch.randn(2, 3, 8), torch.randn(2, 5, 4)


@pytest.mark.parametrize("spec", EVERY, ids=repr)
def test_concepts_are_a_set(spec: Any):
    concepts, tokens = draw()
    block, order = spec.build(SIZES, last=False), torch.tensor([2, 0, 1])
    one, seen = block(concepts, tokens, BlockContext(VISIBLE))
    other, same = block(concepts[:, order], tokens, BlockContext(VISIBLE))
    torch.testing.assert_close(one[:, order], other)
    torch.testing.assert_close(seen, same)


@pytest.mark.parametrize("spec", EVERY, ids=repr)
def test_no_mask_means_that_everything_is_visible(spec: Any):
    concepts, tokens = draw()
    block = spec.build(SIZES, last=False)
    every = block(concepts, tokens, BlockContext(torch.ones_like(VISIBLE)))
    torch.testing.assert_close(every, block(concepts, tokens, BlockContext(None)))


@pytest.mark.parametrize("shared", [False, True])
def test_in_both_forms_of_bixt_concepts_read_as_in_a_cross_block(shared: bool):
    concepts, tokens = draw()
    block, cross = BixtSpec(shared=shared).build(SIZES, last=False), CrossBlock(SIZES, token_norm=True)
    cross.load_state_dict({key: value for key, value in block.state_dict().items() if key in cross.state_dict()})
    ours, _ = block(concepts, tokens, BlockContext(VISIBLE))
    theirs, _ = cross(concepts, tokens, BlockContext(VISIBLE))
    torch.testing.assert_close(ours, theirs)


def test_shared_scores_serve_both_directions():
    concepts, tokens = draw()
    block = BixtSpec(shared=True).build(SIZES, last=False)
    normed = block.cross_norm(concepts)
    query = block.cross_attention.query(normed).unflatten(-1, (2, 4))                     # (B, C, H, D/H)
    key = block.cross_attention.key_value(block.tokens_norm(tokens))[..., :8].unflatten(-1, (2, 4))
    value = block.reverse_value(normed).unflatten(-1, (2, 4))
    share = torch.einsum("bchd,bkhd->bhkc", query, key).div(2).softmax(dim=-1)  # over concepts
    back = torch.einsum("bhkc,bchd->bkhd", share, value).flatten(2)
    _, updated = block(concepts, tokens, BlockContext(VISIBLE))
    torch.testing.assert_close(updated, tokens + block.reverse_out(back))


def test_a_last_bixt_block_leaves_tokens_alone():
    concepts, tokens = draw()
    _, updated = BixtSpec().build(SIZES, last=True)(concepts, tokens, BlockContext(VISIBLE))
    assert updated is None


def test_equal_concepts_each_win_the_mean_of_the_visible_tokens():
    _, tokens = draw()
    slots = SlotAttention(8, 4)
    won = slots(torch.ones(2, 3, 8), tokens, BlockContext(VISIBLE))
    value = slots.key_value(tokens)[..., 8:]
    mean = (value * VISIBLE[..., None]).sum(dim=1) / VISIBLE.sum(dim=1, keepdim=True)
    torch.testing.assert_close(won, slots.out(mean)[:, None].expand(-1, 3, -1))


def test_a_token_wanted_by_one_concept_is_lost_to_the_others():
    slots = SlotAttention(4, 4)
    torch.nn.init.eye_(slots.query.weight)
    with torch.no_grad():
        slots.key_value.weight.copy_(torch.eye(4).repeat(2, 1))
        torch.nn.init.eye_(slots.out.weight)
        slots.out.bias.zero_()
    concepts = 30 * torch.eye(4)[None, :2]                     # concept 0 wants word 0, concept 1 word 1
    tokens = torch.eye(4)[None, :2]
    torch.testing.assert_close(slots(concepts, tokens, BlockContext(None)), tokens, rtol=0, atol=1e-5)


@pytest.mark.parametrize("spec", EVERY, ids=repr)
def test_each_concept_shares_itself_out_among_visible_tokens(spec: Any):
    concepts, tokens = draw()
    block = spec.build(SIZES, last=False)
    weights = block.attention_weights(concepts, tokens, BlockContext(VISIBLE))      # (B, H, C, K)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))
    assert (weights[1, ..., 3:] == 0).all()
