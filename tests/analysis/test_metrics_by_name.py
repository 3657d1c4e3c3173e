"""Sets of concepts whose metrics are known."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from cogito_ray.analysis.metrics_by_name import (
    concept_metrics,
    cosine_histogram,
    mean_cosines,
    principal_plane,
    spectrum,
    text_share,
)

RECORDED = Path(__file__).parents[1] / "golden" / "parity" / "concept_geometry.safetensors"


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_orthogonal_concepts_fill_their_space():
    told = concept_metrics(torch.eye(4).expand(20, -1, -1) * (1 + draw(20, 1, 1).abs()))
    assert told["effective_rank"] == told["nuclear_rank"] == pytest.approx(4)
    assert told["effective_rank_share"] == told["mean_nuclear_rank_share"] == pytest.approx(1)
    assert told["first_share"] == told["mean_first_share"] == pytest.approx(1 / 4)
    assert told["duplicates_share"] == told["cosine_mean"] == 0


def test_constant_concepts_use_no_direction():
    told = concept_metrics(torch.ones(20, 4, 8))
    assert told["effective_rank_share"] == pytest.approx(1 / 4)
    assert told["text_share"] == told["participation_share"] == told["active_dimensions_share"] == 0
    assert told["duplicates_share"] == 1
    assert told["intrinsic_dimension"] == 0


def test_text_share_is_the_share_of_variance_between_texts():
    slots, texts = draw(1, 50, 16), draw(400, 1, 16)
    assert text_share(slots.expand(400, -1, -1)) == pytest.approx(0)
    assert text_share(texts.expand(-1, 50, -1)) == pytest.approx(1)
    assert text_share(slots + 2 * texts) == pytest.approx(4 / 5, abs=0.05)      # variances 1 and 4


def test_every_cosine_is_counted_once_in_the_histogram():
    told = cosine_histogram(torch.tensor([[[1.0, 0], [-1, 0], [2, 0]]]), bins=4)
    assert told == pytest.approx([2 / 3, 0, 0, 1 / 3])


def test_spectra_are_of_each_text_and_of_the_mean_text():
    signs = torch.tensor([1.0, -1.0])[:, None, None]
    concepts = torch.cat([torch.eye(2)[:1].expand(2, -1, -1), signs * torch.eye(2)[1:]], dim=1)     # (2, 2, 2)
    of_texts, of_mean = spectrum(concepts)
    assert of_texts == pytest.approx([0.5, 0.5])
    assert of_mean == pytest.approx([1, 0])             # the second concept cancels over texts


def test_mean_cosines_are_symmetric_with_a_diagonal_of_one():
    cosines = mean_cosines(draw(5, 3, 8))
    torch.testing.assert_close(cosines, cosines.T)
    torch.testing.assert_close(cosines.diagonal(), torch.ones(3).double())


def test_the_plane_holds_what_varies_most():
    rows = torch.zeros(10, 3, 8)
    rows[..., 2], rows[..., 5] = 3 * draw(10, 3), draw(10, 3).flip(0)
    positions, shares = principal_plane(rows)
    assert positions.shape == (10, 3, 2)
    assert sum(shares) == pytest.approx(1)
    assert shares[0] > 0.7


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("participation_share", "participation_ratio_normalized"),
        ("mean_nuclear_rank_share", "effective_rank_normalized"),
    ],
)
def test_shares_are_those_recorded_from_earlier_work(ours: str, theirs: str):
    case = load_file(RECORDED)
    assert concept_metrics(case["inputs.concepts"])[ours] == pytest.approx(float(case[f"outputs.{theirs}"]), rel=1e-5)


@pytest.mark.parametrize(
    ("concepts", "fault"),
    [(draw(5, 1, 8), "a text of 1 concept has no pairs"), (draw(5, 3, 8) / 0, "120 of 120 entries are NaN")],
)
def test_what_has_no_figures_is_refused(concepts: Tensor, fault: str):
    with pytest.raises(ValueError, match=fault):
        concept_metrics(concepts)
