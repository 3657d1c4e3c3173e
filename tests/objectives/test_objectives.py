"""What each objective promises beyond the common contract."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from cogito_ray.objectives.masked_diffusion import DiffusionSpec
from cogito_ray.objectives.prefix_prediction import PrefixSpec
from cogito_ray.objectives.span_masking import PmiSpec, SpanSpec, matches
from cogito_ray.objectives.token_deletion import TsdaeSpec
from cogito_ray.objectives.token_masking import MlmSpec
from cogito_ray.text.vocabulary_info import Collocations, Vocabulary

VOCABULARY = Vocabulary(size=1000, pad_id=0, mask_id=1, separator_id=2, special_ids=(0, 1, 2, 3))


def text(rows: int, length: int) -> Tensor:
    return torch.randint(4, 1000, (rows, length), generator=torch.Generator().manual_seed(3))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(11)


def test_mlm_masks_exactly_its_rate_of_every_row():
    view = MlmSpec(rate=0.15).corrupt(text(50, 100), VOCABULARY, generator())
    assert ((view.visible_ids == VOCABULARY.mask_id).sum(dim=1) == 15).all()
    assert view.weights.sum() == 50 * 15


def test_mlm_shows_the_encoder_masks_random_and_kept_tokens_in_their_shares():
    ids = text(200, 100)
    view = MlmSpec(rate=0.5, random_share=0.1, kept_share=0.1).corrupt(ids, VOCABULARY, generator())
    shown = view.visible_ids.gather(1, view.target_positions)
    masked, kept = shown == VOCABULARY.mask_id, shown == view.targets
    shares = torch.stack([masked, kept, ~masked & ~kept]).float().mean(dim=(1, 2))
    # 10,000 draws: a standard deviation of 0.004 for 0.8 and 0.003 for 0.1; a random token may also be a special one
    torch.testing.assert_close(shares, torch.tensor([0.8, 0.1, 0.1]), atol=0.015, rtol=0)


def test_mlm_leaves_every_other_token_alone():
    ids = text(20, 30)
    view = MlmSpec().corrupt(ids, VOCABULARY, generator())
    untouched = torch.ones_like(ids, dtype=torch.bool).scatter(1, view.target_positions, False)
    assert torch.equal(view.visible_ids[untouched], ids[untouched])


def test_mlm_refuses_shares_above_one():
    with pytest.raises(ValidationError, match=r"random_share \+ kept_share is 1.2"):
        MlmSpec(random_share=0.6, kept_share=0.6)


def test_every_token_is_equally_likely_to_be_masked():
    view = MlmSpec(rate=0.2).corrupt(text(20_000, 10), VOCABULARY, generator())
    counts = view.target_positions.flatten().bincount()
    # binomial(20000, 0.2): mean 4000, deviation 57; four deviations
    assert (counts - 4000).abs().max() < 4 * 57


def test_tsdae_keeps_exactly_the_survivors_of_every_row():
    view = TsdaeSpec(rate=0.6).corrupt(text(50, 100), VOCABULARY, generator())
    assert view.visible_ids.shape == (50, 40)
    assert view.visible.all()


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.99])
def test_tsdae_never_deletes_all_text_of_a_row(rate: float):
    ids = text(30, 20)
    ids[:, ::2] = VOCABULARY.separator_id
    view = TsdaeSpec(rate=rate).corrupt(ids, VOCABULARY, generator())
    assert (view.visible & (view.visible_ids > 3)).any(dim=1).all()


def test_tsdae_keeps_separators_while_they_fit():
    ids = text(30, 20)
    ids[:, [4, 9, 14]] = VOCABULARY.separator_id
    view = TsdaeSpec(rate=0.6).corrupt(ids, VOCABULARY, generator())
    assert ((view.visible_ids == VOCABULARY.separator_id).sum(dim=1) == 3).all()


def test_tsdae_rebuilds_visible_and_deleted_tokens_alike():
    ids = text(30, 20)
    view = TsdaeSpec(target_rate=1.0).corrupt(ids, VOCABULARY, generator())
    assert torch.equal(view.targets, ids)


@pytest.mark.parametrize("objective", [TsdaeSpec(), DiffusionSpec(), PrefixSpec()], ids=lambda spec: spec.kind)
def test_scoring_a_share_of_the_targets_estimates_the_dense_loss_without_bias(objective):
    """The token's own id is its loss: the weighted mean over many draws is that of scoring everything."""
    ids = text(8, 20)
    ids[1, 13:], ids[2, 5:] = 0, 0
    many, loss = ids.repeat(4000, 1), {}
    for name, rate in (("sampled", 0.3), ("dense", 1.0)):
        view = objective.model_copy(update={"target_rate": rate}).corrupt(many, VOCABULARY, generator())
        loss[name] = (view.weights * view.targets).sum() / view.weights.sum()
    # ids deviate by about 290; 32,000 rows of 2 to 6 targets: a standard error of about 1
    assert abs(loss["sampled"] - loss["dense"]) < 4


def test_spans_are_runs_of_the_allowed_lengths_except_where_cut_or_joined():
    view = SpanSpec(rate=0.1, shortest=4, longest=6).corrupt(text(300, 100), VOCABULARY, generator())
    places = view.target_positions
    starts = places.diff(dim=1, prepend=torch.full((300, 1), -9)) != 1
    cut = [row.tensor_split(at.nonzero()[1:, 0]) for row, at in zip(places, starts, strict=True)]
    histogram = np.bincount([len(run) for runs in cut for run in runs], minlength=11)
    assert histogram[4:7].sum() > 0.6 * histogram.sum()                     # 2 or 3 in 10 tokens, the last one cut
    assert histogram[11:].sum() == 0                                        # never more than the budget


def test_spans_cover_exactly_their_rate_and_stop_at_separators():
    ids = text(50, 40)
    ids[:, 20] = VOCABULARY.separator_id
    view = SpanSpec(rate=0.3).corrupt(ids, VOCABULARY, generator())
    assert ((view.visible_ids == VOCABULARY.mask_id).sum(dim=1) == 12).all()       # 0.3 of 39
    assert (view.visible_ids[:, 20] == VOCABULARY.separator_id).all()


def test_a_span_of_one_length_that_fits_the_budget_is_one_whole_run():
    view = SpanSpec(rate=0.1, shortest=5, longest=5).corrupt(text(100, 50), VOCABULARY, generator())
    assert (view.target_positions.diff(dim=1) == 1).all()


def test_span_refuses_lengths_in_the_wrong_order():
    with pytest.raises(ValidationError, match="shortest 9 is more than longest 4"):
        SpanSpec(shortest=9, longest=4)


def table(*runs: tuple[int, ...]) -> Collocations:
    """Two-token runs only."""
    keys = np.array(sorted(a * VOCABULARY.size + b for a, b in runs), dtype=np.int64)
    return Collocations((keys,), (np.ones(len(keys), dtype=bool),))


def test_collocations_are_matched_where_they_start():
    ids = torch.tensor([[7, 5, 6, 5, 9, 5, 6]])
    assert matches(ids, table((5, 6)), VOCABULARY.size).tolist() == [[1, 2, 1, 1, 1, 2, 1]]


def test_pmi_masks_a_collocation_whole_or_not_at_all():
    ids = torch.tensor([[10, 11] * 10]).repeat(200, 1)
    vocabulary = Vocabulary(1000, 0, 1, 2, (0, 1, 2, 3), table((10, 11)))
    masked = PmiSpec(rate=0.3).corrupt(ids, vocabulary, generator()).visible_ids == 1
    assert torch.equal(masked[:, ::2], masked[:, 1::2])
    assert (masked.sum(dim=1) == 6).all()


def test_pmi_without_collocations_says_what_to_do():
    with pytest.raises(ValueError, match="none were counted for this corpus; use 'span'"):
        PmiSpec().corrupt(text(2, 20), VOCABULARY, generator())


def test_diffusion_shows_the_encoder_clean_text():
    ids = text(20, 30)
    assert torch.equal(DiffusionSpec().corrupt(ids, VOCABULARY, generator()).visible_ids, ids)


def test_diffusion_weighs_each_masked_token_by_one_over_the_noise():
    view = DiffusionSpec(target_rate=1.0).corrupt(text(50, 40), VOCABULARY, generator())
    asked = view.weights > 0
    inverse = (1 / view.noise)[:, None].expand_as(view.weights)
    torch.testing.assert_close(view.weights[asked], inverse[asked])
    torch.testing.assert_close(asked.float().mean(dim=1), view.noise)


def test_unweighted_diffusion_weighs_every_masked_token_alike_also_where_a_part_stands_for_all():
    views = [
        DiffusionSpec(target_rate=rate, weighted=False).corrupt(text(50, 40), VOCABULARY, generator())
        for rate in (1.0, 0.25)
    ]
    torch.testing.assert_close(views[0].weights, (views[0].weights > 0).float())
    torch.testing.assert_close(views[1].weights.sum(dim=1), 40 * views[1].noise)


def test_diffusion_shows_decoders_of_rows_exactly_its_share_of_masks_and_all_targets_among_them():
    ids = text(50, 40)
    ids[0, 20:] = VOCABULARY.pad_id
    view = DiffusionSpec(target_rate=0.25).corrupt(ids, VOCABULARY, generator())
    masked = view.noisy_ids == VOCABULARY.mask_id
    assert torch.equal(view.noisy_ids[~masked], ids[~masked])
    torch.testing.assert_close(masked.sum(dim=1) / (ids != VOCABULARY.pad_id).sum(dim=1), view.noise)
    assert masked.gather(1, view.target_positions)[view.weights > 0].all()


def test_diffusion_noise_is_spread_evenly_above_its_least():
    noise = DiffusionSpec(t_min=0.2).corrupt(text(4000, 50), VOCABULARY, generator()).noise
    quarters = torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0])
    # U(0.2, 1) on a grid of 1/50; its quantiles over 4,000 draws deviate by less than 0.007
    torch.testing.assert_close(noise.quantile(torch.linspace(0, 1, 5)), quarters, atol=0.03, rtol=0)


def test_prefix_never_shows_what_it_asks_for():
    view = PrefixSpec().corrupt(text(200, 40), VOCABULARY, generator())
    last_seen = view.visible_positions.masked_fill(~view.visible, -1).amax(dim=1)
    first_asked = view.target_positions.masked_fill(view.weights == 0, 1000).amin(dim=1)
    assert (last_seen < first_asked).all()
    assert (view.visible.sum(dim=1).unique() == torch.arange(12, 21)).all()         # 0.3 to 0.5 of 40


def test_prefix_asks_for_all_of_the_rest_or_a_share_of_it_as_noise():
    whole = PrefixSpec(target_rate=1.0).corrupt(text(50, 40), VOCABULARY, generator())
    noisy = PrefixSpec(target_rate=1.0, t_min=0.1).corrupt(text(50, 40), VOCABULARY, generator())
    rest = 40 - noisy.visible.sum(dim=1)
    assert (whole.noise == 1).all()
    torch.testing.assert_close((noisy.weights > 0).sum(dim=1) / rest, noisy.noise)


def test_prefix_refuses_shares_in_the_wrong_order():
    with pytest.raises(ValidationError, match=r"shortest 0.6 is more than longest 0.5"):
        PrefixSpec(shortest=0.6)
