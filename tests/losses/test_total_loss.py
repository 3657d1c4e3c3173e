"""The loss of one step, on a real tiny model."""

import math
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cogito_ray.losses.diversity_regularisers import MstSpec, OrthogonalitySpec, RegulariserSpec, VicregSpec
from cogito_ray.losses.loss_weighting import CappedSpec, FixedSpec, KendallGalSpec, LearnableSpec, WeightingSpec
from cogito_ray.losses.reconstruction_and_contrast import BagOfWordsSpec, CorruptionsSpec, DropoutSpec, HalvesSpec
from cogito_ray.losses.total_loss import LossSpec, TotalLoss
from cogito_ray.nn.model import ModelSpec
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.objectives.token_deletion import TsdaeSpec
from cogito_ray.objectives.token_masking import MlmSpec
from cogito_ray.text.vocabulary_info import Vocabulary

VOCABULARY = Vocabulary(size=40, pad_id=0, mask_id=1, separator_id=2, special_ids=(0, 1, 2, 3))
SMALL = {"width": 16, "heads": 2, "concepts": 5, "encoder": {"depth": 2}}
DECODER = {"decoder": {"kind": "position"}}


def total_of(loss: LossSpec, decoder: bool = True) -> TotalLoss:
    torch.manual_seed(0)
    spec = ModelSpec.model_validate(SMALL | (DECODER if decoder else {}))
    return TotalLoss(spec.build(VOCABULARY, 16), loss)


def views(loss: LossSpec) -> tuple[View, View | None]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(4, 40, (6, 16), generator=generator)
    ids[0, 11:] = VOCABULARY.pad_id
    return loss.views(TsdaeSpec(), ids, VOCABULARY, generator)


def gradients(loss: LossSpec) -> dict[str, torch.Tensor]:
    total = total_of(loss)
    total(*views(loss)).total.backward()
    return {name: parameter.grad for name, parameter in total.model.encoder.named_parameters()}


def test_reconstruction_is_the_weighted_mean_of_the_nats_of_each_target():
    loss = LossSpec()
    total, (view, _) = total_of(loss), views(loss)
    model = total.model
    hidden = model.decoder(total(view).concepts, view.target_positions, None, None)
    nats = -model.head.logits(hidden).log_softmax(dim=-1).gather(2, view.targets[..., None])[..., 0]
    expected = (nats * view.weights).sum() / view.weights.sum()
    torch.testing.assert_close(total(view).terms["reconstruction"], expected.detach())


def test_a_bag_of_words_is_told_from_the_mean_concept_alone_and_counts_rare_words_more():
    loss = LossSpec(bag_of_words=BagOfWordsSpec(frequency_weight=0.01))
    log_unigram = torch.arange(1.0, 41.0).log_softmax(dim=0)
    total, (view, _) = TotalLoss(total_of(loss).model, loss, log_unigram), views(loss)
    losses = total(view)
    scores = total.model.head.logits(losses.concepts.mean(dim=1)).log_softmax(dim=-1)                  # (B, V)
    weights = view.weights * 0.01 / (0.01 + log_unigram.exp()[view.targets])
    expected = -(scores.gather(1, view.targets) * weights).sum() / weights.sum()
    torch.testing.assert_close(losses.terms["bag_of_words"], expected.detach())
    assert total.state_dict().keys() == total_of(LossSpec()).state_dict().keys()


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that any operation returned."""

    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.entries = max([self.entries, *(leaf.numel() for leaf in tree_leaves(result) if hasattr(leaf, "numel"))])
        return result


def test_a_step_never_makes_a_tensor_of_targets_by_vocabulary():
    words = Vocabulary(size=3000, pad_id=0, mask_id=1, separator_id=2, special_ids=(0, 1, 2, 3))
    total = TotalLoss(ModelSpec.model_validate(SMALL | DECODER).build(words, 16), LossSpec())
    ids = torch.randint(4, 3000, (96, 16), generator=torch.Generator().manual_seed(0))
    view = TsdaeSpec(target_rate=1.0).corrupt(ids, words, torch.Generator().manual_seed(0))
    with Largest() as largest:
        total(view).total.backward()
    assert largest.entries < view.targets.numel() * words.size / 4


def test_an_untrained_model_pays_about_the_entropy_of_a_uniform_guess():
    loss = LossSpec()
    assert total_of(loss)(*views(loss)).total.item() == pytest.approx(math.log(40), abs=1.0)


def test_the_total_of_fixed_weights_is_their_weighted_sum():
    loss = LossSpec(regularisers=(VicregSpec(), MstSpec()), weighting=FixedSpec(weights={"vicreg": 0.3, "mst": 2.0}))
    losses = total_of(loss)(*views(loss))
    terms = losses.terms
    expected = terms["reconstruction"] + 0.3 * terms["vicreg"] + 2.0 * terms["mst"]
    torch.testing.assert_close(losses.total.detach(), expected)


def test_a_cap_without_effect_gives_the_gradient_of_fixed_weights():
    pressure = (OrthogonalitySpec(),)
    capped = gradients(LossSpec(regularisers=pressure, weighting=CappedSpec(share=1e6)))
    fixed = gradients(LossSpec(regularisers=pressure))
    for name, gradient in fixed.items():
        torch.testing.assert_close(capped[name], gradient, msg=name)


def test_a_capped_regulariser_never_pulls_harder_than_its_share_whatever_its_weight():
    weighting = CappedSpec(weights={"vicreg": 1e6}, share=0.25)
    loss = LossSpec(regularisers=(VicregSpec(),), weighting=weighting)
    total = total_of(loss)
    total(*views(loss)).total.backward()
    assert total.gradient_shares()["loss/vicreg_gradient_share"] == pytest.approx(0.25 / 1.25)


def test_gradient_shares_add_up_to_one_over_all_terms():
    loss = LossSpec(contrast=CorruptionsSpec(), regularisers=(VicregSpec(), MstSpec(layers="every")))
    total = total_of(loss)
    assert total.gradient_shares() == {}
    total(*views(loss)).total.backward()
    shares = total.gradient_shares()
    assert list(shares) == [f"loss/{t}_gradient_share" for t in ("reconstruction", "contrast", "vicreg", "mst")]
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) > 0


def test_a_regulariser_on_every_layer_is_the_mean_of_its_values_on_each():
    loss = LossSpec(regularisers=(OrthogonalitySpec(layers="every"),))
    total, (view, _) = total_of(loss), views(loss)
    layers = total.model.encoder.every_layer(view.visible_ids, view.visible_positions, view.visible)
    expected = torch.stack([OrthogonalitySpec()(layer) for layer in layers]).mean()
    torch.testing.assert_close(total(view).terms["orthogonality"], expected.detach())


@pytest.mark.parametrize("weighting", [LearnableSpec(), KendallGalSpec()], ids=lambda spec: spec.kind)
def test_learned_weights_get_a_gradient(weighting: LearnableSpec | KendallGalSpec):
    loss = LossSpec(regularisers=(VicregSpec(),), weighting=weighting)
    total = total_of(loss)
    total(*views(loss)).total.backward()
    assert all((parameter.grad.abs() > 0).all() for parameter in total.weighting.parameters())


@pytest.mark.parametrize(
    "contrast",
    [HalvesSpec(), HalvesSpec(cut="random"), CorruptionsSpec()],
    ids=["halves", "cut_at_random", "corruptions"],
)
def test_contrast_alone_trains_every_parameter_of_the_encoder(contrast: HalvesSpec | CorruptionsSpec):
    loss = LossSpec(contrast=contrast)
    total = total_of(loss, decoder=False)
    losses = total(*views(loss))
    losses.total.backward()
    assert list(losses.terms) == ["contrast"]
    # a shift common to all texts is the one thing that cosines hardly see; every parameter still moves a little
    assert all(parameter.grad is not None for parameter in total.parameters())


def test_dropout_views_are_one_corruption_with_other_tokens_hidden():
    loss = LossSpec(contrast=DropoutSpec(rate=0.3))
    one, two = views(loss)
    assert torch.equal(one.targets, two.targets)
    assert torch.equal(one.visible_ids, two.visible_ids)
    assert not torch.equal(one.visible, two.visible)


def test_dropout_views_show_padding_never_and_something_always():
    one, two = views(LossSpec(contrast=DropoutSpec(rate=0.99)))
    for view in (one, two):
        assert view.visible.any(dim=1).all()
        assert (view.visible_ids[view.visible] != VOCABULARY.pad_id).all()


def test_halves_are_the_first_and_second_half_of_every_row():
    ids = torch.arange(4, 36).view(2, 16)
    vocabulary = Vocabulary(size=40, pad_id=0, mask_id=1, separator_id=2, special_ids=(0, 1, 2, 3))
    first, second = HalvesSpec().views(TsdaeSpec(target_rate=1.0), ids, vocabulary, torch.Generator())
    assert torch.equal(torch.cat([first.targets, second.targets], dim=1), ids)


def test_a_row_cut_at_random_is_its_two_parts_from_their_first_places_on():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(4, 64, (300, 16), generator=generator)
    objective = TsdaeSpec(rate=0.01, target_rate=1.0)
    first, second = HalvesSpec(cut="random").views(objective, ids, VOCABULARY, generator)
    cuts = first.visible.sum(dim=1)
    assert set(cuts.tolist()) == set(range(2, 15))                         # an eighth of the row from either end
    for row, cut in enumerate(cuts.tolist()):
        assert first.visible_ids[row, :cut].tolist() == ids[row, :cut].tolist()
        assert second.visible_ids[row, : 16 - cut].tolist() == ids[row, cut:].tolist()
        assert not second.visible[row, 16 - cut :].any()


def test_a_row_whose_second_half_is_empty_does_not_count_in_contrast():
    loss = LossSpec(contrast=HalvesSpec())
    ids = torch.randint(4, 40, (4, 16), generator=torch.Generator().manual_seed(0))
    ids[3, 8:] = VOCABULARY.pad_id
    total = total_of(loss, decoder=False)
    whole = total(*loss.views(MlmSpec(), ids, VOCABULARY, torch.Generator().manual_seed(1)))
    ids[3, :8] = 7
    other = total(*loss.views(MlmSpec(), ids, VOCABULARY, torch.Generator().manual_seed(1)))
    torch.testing.assert_close(whole.terms, other.terms)


REGULARISERS = [kind() for kind in get_args(get_args(RegulariserSpec)[0])]


def passes_of(loss: LossSpec, rows: int) -> list[tuple[View, View | None]]:
    """A batch of 4 rows, of which two are mostly padding, in passes of `rows` rows, with nothing left to chance."""
    ids = torch.randint(4, 40, (4, 16), generator=torch.Generator().manual_seed(0))
    ids[2, 2:] = ids[3, 5:] = VOCABULARY.pad_id
    certain = TsdaeSpec(rate=1e-6, target_rate=1.0)
    return [loss.views(certain, part, VOCABULARY, torch.Generator()) for part in ids.split(rows)]


def step_of(loss: LossSpec, rows: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """(terms, gradients) of that batch."""
    total, passes = total_of(loss), passes_of(loss, rows)
    divisors = torch.stack([total.divisors(*views) for views in passes]).mean(dim=0)
    told = [total(*views, divisors) for views in passes]
    torch.stack([losses.total for losses in told]).mean().backward()
    terms = {name: torch.stack([losses.terms[name] for losses in told]).mean() for name in told[0].terms}
    return terms, {name: parameter.grad for name, parameter in total.named_parameters()}


@pytest.mark.parametrize("rows", [2, 1])
@pytest.mark.parametrize(
    ("weighting", "regulariser"),
    [
        (weighting, regulariser)
        for weighting in (FixedSpec(), LearnableSpec(), KendallGalSpec())
        for regulariser in REGULARISERS
        if not regulariser.over_texts and (regulariser.floor >= 0 or weighting.kind != "kendall_gal")
    ],
    ids=lambda spec: spec.kind,
)
def test_a_batch_of_padded_rows_has_the_gradient_of_one_pass_however_it_is_cut(
    weighting: WeightingSpec, regulariser: RegulariserSpec, rows: int
):
    loss = LossSpec(regularisers=(regulariser,), weighting=weighting, bag_of_words=BagOfWordsSpec())
    (whole_terms, whole), (terms, cut) = step_of(loss, 4), step_of(loss, rows)
    torch.testing.assert_close(terms, whole_terms)
    torch.testing.assert_close(cut, whole, rtol=0, atol=1e-6)


def test_each_text_counts_alike_in_contrast_in_whichever_pass_it_stands():
    """Of four rows, the fourth has an empty half; negatives are those of a pass."""
    loss = LossSpec(contrast=HalvesSpec())
    total = total_of(loss, decoder=False)
    ids = torch.randint(4, 40, (4, 16), generator=torch.Generator().manual_seed(0))
    ids[3, 8:] = VOCABULARY.pad_id
    passes = [loss.views(MlmSpec(), part, VOCABULARY, torch.Generator().manual_seed(1)) for part in ids.split(2)]
    divisors = torch.stack([total.divisors(*views) for views in passes]).mean(dim=0)
    mean = torch.stack([total(*views, divisors).total for views in passes]).mean()
    alone = torch.stack([total(*views).total for views in passes])          # means over 2 texts and over 1
    torch.testing.assert_close(mean, (2 * alone[0] + alone[1]) / 3)


def test_gradient_shares_are_the_mean_over_the_passes_since_they_were_asked_last():
    loss = LossSpec(regularisers=(VicregSpec(),))
    total, each = total_of(loss), []
    for views in passes_of(loss, 2):
        total(*views).total.backward()
        each.append(total.gradient_shares()["loss/vicreg_gradient_share"])
    assert total.gradient_shares() == {}
    for views in passes_of(loss, 2):
        total(*views).total.backward()
    assert each[0] != pytest.approx(each[1], rel=0.01)
    assert total.gradient_shares()["loss/vicreg_gradient_share"] == pytest.approx(sum(each) / 2)


def test_a_loss_without_any_target_is_zero_and_has_no_gradient():
    total = total_of(LossSpec())
    view, _ = passes_of(LossSpec(), 4)[0]
    losses = total(replace(view, weights=torch.zeros_like(view.weights)))
    losses.total.backward()
    assert losses.total == 0
    assert not any(parameter.grad.any() for parameter in total.parameters())


def test_contrast_without_a_second_view_says_where_to_get_one():
    loss = LossSpec(contrast=HalvesSpec())
    view, _ = views(loss)
    with pytest.raises(ValueError, match=r"loss\.contrast compares two views .* use LossSpec\.views"):
        total_of(loss)(view)


def test_evaluation_without_gradients_gives_the_same_terms():
    loss = LossSpec(regularisers=(VicregSpec(layers="every"),))
    total, given = total_of(loss), views(loss)
    with torch.no_grad():
        quiet = total(*given)
    torch.testing.assert_close(quiet.terms, total(*given).terms)


def test_one_kind_twice_is_refused():
    with pytest.raises(ValueError, match=r"regularisers names \['vicreg'\] more than once"):
        LossSpec(regularisers=(VicregSpec(), VicregSpec(covariance=2.0)))


def test_a_weight_for_a_term_the_run_does_not_have_is_a_fault():
    loss = LossSpec(weighting=FixedSpec(weights={"vicreg": 1.0}))
    assert loss.faults(["reconstruction"]) == [
        "loss.weighting.weights names ['vicreg'], but the terms of this run are ['reconstruction']"
    ]


def test_kendall_gal_with_a_term_that_can_be_negative_is_a_fault():
    loss = LossSpec(regularisers=(MstSpec(), VicregSpec()), weighting=KendallGalSpec())
    (fault,) = loss.faults(["reconstruction", "mst", "vicreg"])
    assert fault.startswith("loss.weighting 'kendall_gal' would give ['mst'] the largest weight")


def test_orthogonality_of_more_concepts_than_dimensions_is_a_fault():
    loss = LossSpec(regularisers=(OrthogonalitySpec(), VicregSpec()))
    assert loss.shape_faults(concepts=16, width=16, rows=4) == []
    (fault,) = loss.shape_faults(concepts=17, width=16, rows=4)
    assert fault.startswith("loss.regularisers: 'orthogonality' cannot be met by 17 concepts of width 16")
