"""The vocabulary head: where it starts, and how it is tied."""

import math

import torch
from torch import nn

from cogito_ray.nn.vocabulary_head import HeadSpec


def test_training_starts_at_the_unigram_entropy():
    share = torch.tensor([0.5, 0.25, 0.125, 0.125])
    head = HeadSpec().build(nn.Embedding(4, 6), 6, share.log())
    nothing = torch.zeros(1, 4, 6)                             # a norm makes zeros of it: only the bias speaks
    nats = head(nothing, torch.arange(4)[None])
    torch.testing.assert_close(nats[0] @ share, torch.tensor(1.75 * math.log(2)))


def test_a_tied_head_of_thin_tokens_scores_in_their_width():
    token = nn.Embedding(9, 3)
    head = HeadSpec(norm=False, bias=False).build(token, 8, None)
    hidden = torch.randn(2, 5, 8)
    torch.testing.assert_close(head.logits(hidden), hidden[..., :3] @ token.weight.T)
    assert sum(parameter.numel() for parameter in head.parameters()) == 8 * 3


def test_the_weighted_mean_is_the_mean_of_the_nats_and_0_without_weights():
    torch.manual_seed(0)
    head, hidden, targets = HeadSpec().build(nn.Embedding(9, 4), 4, None), torch.randn(2, 5, 4), torch.ones(2, 5).long()
    weights = torch.tensor([[1.0, 0, 2, 0, 0], [0, 0, 0.5, 0, 0]])
    mean = (head(hidden, targets) * weights).sum() / weights.sum()
    torch.testing.assert_close(head.weighted_mean(hidden, targets, weights), mean)
    assert head.weighted_mean(hidden, targets, 0 * weights) == 0


def test_z_loss_adds_the_squared_normaliser_in_training_alone():
    torch.manual_seed(0)
    spec, hidden, targets = HeadSpec(z_loss=0.5, norm=False), torch.randn(2, 5, 4), torch.ones(2, 5).long()
    head, weights = spec.build(nn.Embedding(9, 4), 4, None), torch.rand(2, 5)
    nats, normaliser = head(hidden, targets), head.logits(hidden).logsumexp(dim=-1)
    assert torch.equal(nats, HeadSpec(norm=False).build(head.token, 4, None)(hidden, targets))
    added = ((nats + 0.5 * normaliser.square()) * weights).sum() / weights.sum()
    torch.testing.assert_close(head.weighted_mean(hidden, targets, weights), added)
