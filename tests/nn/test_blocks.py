"""Blocks: BiXT's two directions, slots' competition, and concepts as a set."""

from typing import Any

import pytest
import torch
from torch import Tensor

from cogito_ray.nn.blocks.base import Scene, Sizes
from cogito_ray.nn.blocks.bixt_block import BixtSpec
from cogito_ray.nn.blocks.perceiver_block import CrossBlock, CrossSpec
from cogito_ray.nn.blocks.slot_attention import Competition, SlotSpec

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
    one, seen = block(concepts, tokens, Scene(VISIBLE))
    other, same = block(concepts[:, order], tokens, Scene(VISIBLE))
    torch.testing.assert_close(one[:, order], other)
    torch.testing.assert_close(seen, same)


@pytest.mark.parametrize("spec", EVERY, ids=repr)
def test_no_mask_means_that_everything_is_visible(spec: Any):
    concepts, tokens = draw()
    block = spec.build(SIZES, last=False)
    every = block(concepts, tokens, Scene(torch.ones_like(VISIBLE)))
    torch.testing.assert_close(every, block(concepts, tokens, Scene(None)))


@pytest.mark.parametrize("shared", [False, True])
def test_in_both_forms_of_bixt_concepts_read_as_in_a_cross_block(shared: bool):
    concepts, tokens = draw()
    block, cross = BixtSpec(shared=shared).build(SIZES, last=False), CrossBlock(SIZES, token_norm=True)
    cross.load_state_dict({key: value for key, value in block.state_dict().items() if key in cross.state_dict()})
    ours, _ = block(concepts, tokens, Scene(VISIBLE))
    theirs, _ = cross(concepts, tokens, Scene(VISIBLE))
    torch.testing.assert_close(ours, theirs)


def test_shared_scores_serve_both_directions():
    concepts, tokens = draw()
    block = BixtSpec(shared=True).build(SIZES, last=False)
    normed = block.norm_read(concepts)
    query = block.read.query(normed).unflatten(-1, (2, 4))                     # (B, C, H, D/H)
    key = block.read.key_value(block.norm_tokens(tokens))[..., :8].unflatten(-1, (2, 4))
    value = block.value_back(normed).unflatten(-1, (2, 4))
    share = torch.einsum("bchd,bkhd->bhkc", query, key).div(2).softmax(dim=-1)  # over concepts
    back = torch.einsum("bhkc,bchd->bkhd", share, value).flatten(2)
    _, updated = block(concepts, tokens, Scene(VISIBLE))
    torch.testing.assert_close(updated, tokens + block.out_back(back))


def test_a_last_bixt_block_leaves_tokens_alone():
    concepts, tokens = draw()
    _, updated = BixtSpec().build(SIZES, last=True)(concepts, tokens, Scene(VISIBLE))
    assert updated is tokens


def test_equal_concepts_each_win_the_mean_of_the_visible_tokens():
    _, tokens = draw()
    competition = Competition(8, 4)
    won = competition(torch.ones(2, 3, 8), tokens, Scene(VISIBLE))
    value = competition.key_value(tokens)[..., 8:]
    mean = (value * VISIBLE[..., None]).sum(dim=1) / VISIBLE.sum(dim=1, keepdim=True)
    torch.testing.assert_close(won, competition.out(mean)[:, None].expand(-1, 3, -1))


def test_a_token_wanted_by_one_concept_is_lost_to_the_others():
    competition = Competition(4, 4)
    torch.nn.init.eye_(competition.query.weight)
    with torch.no_grad():
        competition.key_value.weight.copy_(torch.eye(4).repeat(2, 1))
        torch.nn.init.eye_(competition.out.weight)
        competition.out.bias.zero_()
    concepts = 30 * torch.eye(4)[None, :2]                     # concept 0 wants word 0, concept 1 word 1
    tokens = torch.eye(4)[None, :2]
    torch.testing.assert_close(competition(concepts, tokens, Scene(None)), tokens, rtol=0, atol=1e-5)


@pytest.mark.parametrize("spec", EVERY, ids=repr)
def test_each_concept_shares_itself_out_among_visible_tokens(spec: Any):
    concepts, tokens = draw()
    shares = spec.build(SIZES, last=False).shares(concepts, tokens, Scene(VISIBLE))             # (B, H, C, K)
    torch.testing.assert_close(shares.sum(dim=-1), torch.ones(shares.shape[:-1]))
    assert (shares[1, ..., 3:] == 0).all()
