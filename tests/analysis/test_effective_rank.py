"""Ranks of sets of vectors, where they are known."""

import math

import pytest
import torch

from cogito_ray.analysis.effective_rank import effective_rank, effective_ranks, nuclear_rank, nuclear_ranks


@pytest.mark.parametrize("rank", [effective_rank, nuclear_rank])
def test_a_line_has_rank_one_and_an_orthogonal_set_its_size(rank):
    line = torch.linspace(-1, 3, 9)[:, None] * torch.randn(5, generator=torch.Generator().manual_seed(0))
    assert rank(line) == pytest.approx(1, abs=1e-5)             # float32 input: singular values of 1e-7 remain
    assert rank(4 * torch.eye(7, 12)) == pytest.approx(7)


def test_effective_rank_is_exp_entropy_and_nuclear_rank_sum_over_largest():
    rows = torch.diag(torch.tensor([4.0, 2.0, 2.0]))            # shares 1/2, 1/4, 1/4: entropy 1.5 ln 2
    assert effective_rank(rows) == pytest.approx(math.exp(1.5 * math.log(2)))
    assert nuclear_rank(rows) == pytest.approx(2)


@pytest.mark.parametrize("rank", [effective_rank, nuclear_rank])
def test_rank_ignores_scale_and_rotation(rank):
    generator = torch.Generator().manual_seed(0)
    rows, turn = torch.randn(6, 10, generator=generator), torch.linalg.qr(torch.randn(10, 10, generator=generator)).Q
    assert rank(1e-6 * rows @ turn) == pytest.approx(rank(rows), rel=1e-5)


@pytest.mark.parametrize("rank", [effective_rank, nuclear_rank])
def test_zeros_have_rank_zero(rank):
    assert rank(torch.zeros(3, 4)) == 0


@pytest.mark.parametrize(("batched", "single"), [(effective_ranks, effective_rank), (nuclear_ranks, nuclear_rank)])
def test_the_batched_form_is_the_single_one_per_text(batched, single):
    concepts = torch.randn(4, 6, 10, generator=torch.Generator().manual_seed(0))
    assert batched(concepts).tolist() == pytest.approx([single(text) for text in concepts])


@pytest.mark.parametrize(("count", "width"), [(128, 512), (16, 128), (64, 16)])
def test_ranks_are_those_of_the_singular_values(count, width):
    generator = torch.Generator().manual_seed(0)
    skewed = torch.randn(2, count, width, generator=generator) * 0.9 ** torch.arange(width)
    singular = torch.linalg.svdvals(skewed.double())
    share = singular / singular.sum(dim=-1, keepdim=True)
    entropy = torch.special.entr(share).sum(dim=-1)
    torch.testing.assert_close(effective_ranks(skewed), entropy.exp(), rtol=1e-6, atol=0)
    torch.testing.assert_close(nuclear_ranks(skewed), singular.sum(dim=-1) / singular[:, 0], rtol=1e-6, atol=0)


def test_nan_is_an_error_that_counts_it():
    rows = torch.ones(3, 4)
    rows[1, 2], rows[0, 0] = math.nan, math.inf
    with pytest.raises(ValueError, match="2 of 12 entries are NaN or infinite"):
        effective_rank(rows)
