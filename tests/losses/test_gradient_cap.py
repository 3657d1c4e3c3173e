"""The share of gradient of each term, and the cap on it."""

import pytest
import torch

from cogito_ray.losses.gradient_cap import Branches, branch_gradients

LAST_ONLY = Branches(term_of=(0, 1), layer_of=(0, 0), caps=(None, torch.inf))


def pull(branches: Branches, strengths: list[float], layers: list[torch.Tensor]) -> torch.Tensor:
    """Backward of sum(strength * copy); returns the share_accumulator's gradient: the shares."""
    share_accumulator = torch.zeros(len(branches.caps), requires_grad=True)
    copies = branch_gradients(branches, share_accumulator, layers)
    sum(strength * copy.sum() for strength, copy in zip(strengths, copies, strict=True)).backward()
    return share_accumulator.grad


def test_without_caps_the_gradient_is_the_plain_sum():
    concepts = torch.randn(2, 3, 4, requires_grad=True)
    pull(LAST_ONLY, [1.0, 5.0], [concepts])
    torch.testing.assert_close(concepts.grad, torch.full((2, 3, 4), 6.0))


def test_shares_are_norms_over_their_sum():
    shares = pull(LAST_ONLY, [1.0, 3.0], [torch.randn(2, 3, 4, requires_grad=True)])
    torch.testing.assert_close(shares, torch.tensor([0.25, 0.75]))


@pytest.mark.parametrize(("strength", "kept"), [(5.0, 0.5), (0.2, 0.2)])
def test_a_cap_lowers_a_gradient_to_its_share_of_the_tasks_and_never_raises_it(strength: float, kept: float):
    concepts = torch.randn(2, 3, 4, requires_grad=True)
    branches = Branches(term_of=(0, 1), layer_of=(0, 0), caps=(None, 0.5))
    shares = pull(branches, [1.0, strength], [concepts])
    torch.testing.assert_close(concepts.grad, torch.full((2, 3, 4), 1.0 + kept))
    torch.testing.assert_close(shares, torch.tensor([1.0, kept]) / (1 + kept))


def test_each_regulariser_is_capped_by_itself_against_all_tasks_together():
    concepts = torch.randn(2, 3, 4, requires_grad=True)
    branches = Branches(term_of=(0, 1, 2, 3), layer_of=(0, 0, 0, 0), caps=(None, None, 0.1, 0.1))
    pull(branches, [1.0, 3.0, 100.0, -100.0], [concepts])
    torch.testing.assert_close(concepts.grad, torch.full((2, 3, 4), 4.0 + 0.4 - 0.4))


def test_a_term_on_every_layer_is_capped_by_its_norm_over_all_of_them():
    layers = [torch.randn(2, 8, requires_grad=True) for _ in range(4)]
    branches = Branches(term_of=(0, 1, 1, 1, 1), layer_of=(3, 0, 1, 2, 3), caps=(None, 1.0))
    pull(branches, [1.0, 9.0, 9.0, 9.0, 9.0], layers)
    # the task's norm is 4; four layers of equal gradient share it: each has norm 2, so 0.5 per entry
    torch.testing.assert_close(layers[0].grad, torch.full((2, 8), 0.5))
    torch.testing.assert_close(layers[3].grad, torch.full((2, 8), 1.5))


def test_a_task_without_gradient_mutes_what_is_capped():
    concepts = torch.randn(2, 3, requires_grad=True)
    pull(Branches(term_of=(0, 1), layer_of=(0, 0), caps=(None, 0.5)), [0.0, 3.0], [concepts])
    assert torch.equal(concepts.grad, torch.zeros(2, 3))


def test_nothing_but_regularisers_without_caps_pull_freely():
    concepts = torch.randn(2, 3, requires_grad=True)
    pull(Branches(term_of=(0, 1), layer_of=(0, 0), caps=(None, torch.inf)), [0.0, 3.0], [concepts])
    torch.testing.assert_close(concepts.grad, torch.full((2, 3), 3.0))
