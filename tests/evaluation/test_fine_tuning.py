"""Fine-tuning: what it learns, what it leaves alone, when it ends."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from cogito_ray.evaluation.checkpoint_loader import TrainedModel
from cogito_ray.evaluation.protocols.fine_tuning import (
    Classes,
    EarlyStopping,
    FineTuneSpec,
    Grades,
    fine_tune,
    label_type_of,
)
from cogito_ray.evaluation.sentence_encoder import SentenceEncoder
from cogito_ray.evaluation.tasks.sentence_tasks import TASKS, Examples
from cogito_ray.nn.concept_pooling import (
    AttentionPoolSpec,
    MeanPoolSpec,
    QueryPoolSpec,
    SelfAttentionPoolSpec,
    ViaDecoderPoolSpec,
)

WORDS = np.array(["concept", "token", "moment", "radius", "delta", "inform"])
QUICK = FineTuneSpec(learning_rate=1e-2, batch=16, epochs=4)


@pytest.fixture(scope="module")
def encoder(trained) -> SentenceEncoder:
    return TrainedModel.open(trained[1]).sentence_encoder


def singles(count: int, seed: int) -> Examples:
    """Does a text hold the word `concept`?"""
    texts = [" ".join(words) for words in np.random.default_rng(seed).choice(WORDS, size=(count, 4))]
    return Examples(texts, None, np.array(["concept" in text for text in texts], dtype=np.int64))


def pairs(count: int, seed: int) -> Examples:
    """Graded 0 to 5 by how many of the words are `concept`, in both texts together."""
    one, two = (singles(count, seed + side).one for side in (0, 1000))
    counts = [(a + b).count("concept") for a, b in zip(one, two, strict=True)]
    return Examples(one, two, np.minimum(counts, 5).astype(np.float64))


def test_through_the_cosine_alone_it_learns_which_texts_share_a_word_and_is_asked_of_pairs_alone(encoder):
    def alike(count: int, seed: int) -> Examples:
        one, two = singles(count, seed), singles(count, seed + 1000)
        return Examples(one.one, two.one, (one.labels == two.labels).astype(np.float64))

    spec = QUICK.model_copy(update={"pairs": "cosine", "head": MeanPoolSpec()})
    train, scored = alike(160, seed=0), alike(60, seed=1)
    told = fine_tune(encoder, spec, label_type=Grades(0.5, 0.5), train=train, scored=scored, seed=0)
    assert np.corrcoef(told, scored.labels)[0, 1] > 0.7
    assert [spec.suits(TASKS[name]) for name in ("stsb", "rte", "sst2", "sts12")] == [True, True, False, False]


@pytest.mark.parametrize(
    "head",
    [ViaDecoderPoolSpec(), AttentionPoolSpec(), QueryPoolSpec(), SelfAttentionPoolSpec(), MeanPoolSpec()],
    ids=lambda head: head.kind,
)
def test_every_head_learns_which_texts_hold_a_word(head, encoder):
    train, scored = singles(160, seed=0), singles(60, seed=1)
    spec = QUICK.model_copy(update={"head": head})
    told = fine_tune(encoder, spec, label_type=Classes(2), train=train, scored=scored, seed=0)
    assert (told == scored.labels).mean() > 0.9         # the majority is right about 0.52 of the time


def test_grades_of_pairs_come_back_on_their_own_scale_one_to_an_example(encoder):
    train, scored = pairs(200, seed=0), pairs(60, seed=1)
    told = fine_tune(
        encoder, QUICK, label_type=label_type_of(TASKS["stsb"], train), train=train, scored=scored, seed=0
    )
    assert told.shape == (60,)
    assert np.corrcoef(told, scored.labels)[0, 1] > 0.8
    assert told.mean() == pytest.approx(train.labels.mean(), abs=0.4)       # their spread is 1.0


def test_equal_seeds_give_equal_answers_and_leave_the_model_and_the_world_as_they_were(encoder):
    before, state = copy.deepcopy(encoder.model.state_dict()), torch.random.get_rng_state()
    spec, train, scored = QUICK.model_copy(update={"epochs": 1}), pairs(40, seed=0), pairs(20, seed=1)
    answer = label_type_of(TASKS["stsb"], train)
    told = [fine_tune(encoder, spec, label_type=answer, train=train, scored=scored, seed=seed) for seed in (0, 0, 1)]
    assert (told[0] == told[1]).all()
    assert (told[0] != told[2]).any()
    assert all(torch.equal(before[name], value) for name, value in encoder.model.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_grade_is_one_column_and_each_is_compared_with_its_own_label():
    grades = Grades(mean=2.0, std=4.0)
    logits, labels = torch.tensor([[0.0], [1.0], [-0.5]]), torch.tensor([2.0, 10.0, 0.0], dtype=torch.float64)
    assert float(grades.loss(logits, labels)) == pytest.approx(1 / 3)       # broadcast to (3, 3) it would be 1.44
    assert grades.predict(logits).tolist() == [2.0, 6.0, 0.0]


def test_there_is_a_column_for_every_class_of_the_training_split_and_one_for_grades():
    assert label_type_of(TASKS["mnli-matched"], Examples(["a"] * 3, ["b"] * 3, np.array([0, 2, 2]))) == Classes(3)
    constant = label_type_of(TASKS["stsb"], Examples(["a"] * 2, ["b"] * 2, np.array([3.0, 3.0])))
    assert constant == Grades(mean=3.0, std=1.0)
    assert constant.columns == 1


def test_training_ends_after_so_many_epochs_without_a_lower_loss_and_the_best_weights_are_kept():
    best, module, over = EarlyStopping(patience=2), nn.Linear(1, 1, bias=False), []
    for epoch, loss in enumerate([3.0, 2.0, 2.0, 2.5]):
        module.weight.data.fill_(epoch)
        over.append(best.update(loss, module))
    assert over == [False, False, False, True]
    assert (best.loss, best.weights["weight"].item()) == (2.0, 1.0)


def test_a_loss_that_is_not_a_number_never_counts_as_best():
    best, module = EarlyStopping(patience=2), nn.Linear(1, 1, bias=False)
    assert [best.update(loss, module) for loss in (1.0, np.nan, np.nan)] == [False, False, True]
    assert best.loss == 1.0


def test_every_score_stands_beside_linear_maps_of_words_and_the_majority(encoder):
    spec, train, scored = QUICK.model_copy(update={"epochs": 1, "rows": 40}), singles(60, seed=0), singles(30, seed=1)
    told = dict(spec.predictions(encoder, TASKS["sst2"], {"train": train, "validation": scored}, seed=0))
    assert list(told) == ["via_decoder", "bag_of_words", "tf_idf", "majority"]
    assert (told["bag_of_words"] == scored.labels).mean() > 0.9
    assert (told["tf_idf"] == scored.labels).mean() > 0.9
    assert len(set(told["majority"])) == 1


def test_a_head_that_needs_a_decoder_is_refused_where_there_is_none():
    assert FineTuneSpec().faults(decodes=True) == []
    [fault] = FineTuneSpec().faults(decodes=False)
    assert fault == "head 'via_decoder' needs a model with a decoder; use another, such as {kind: mean}"
    assert FineTuneSpec(head=AttentionPoolSpec()).faults(decodes=False) == []


def test_two_texts_in_one_row_are_told_apart_from_each_other(encoder):
    """Grades of pairs, of which neither text alone says enough."""
    train, scored = pairs(200, seed=0), pairs(60, seed=1)
    spec = QUICK.model_copy(update={"pairs": "concatenated", "head": AttentionPoolSpec()})
    told = fine_tune(encoder, spec, label_type=label_type_of(TASKS["stsb"], train), train=train, scored=scored, seed=0)
    assert np.corrcoef(told, scored.labels)[0, 1] > 0.7


def test_pairs_in_one_row_are_truncated_where_both_do_not_fit(encoder):
    few, many = ["token"], [" ".join(WORDS[[0, 1]]) + " token" * (encoder.length // 2)]
    assert not encoder.truncated(many, few).any()
    assert encoder.truncated(many, many, together=True).all()
    assert encoder.pair_ids(many, many).shape == (1, encoder.length)


def test_of_several_learning_rates_that_of_the_lowest_held_back_loss_answers(encoder):
    train, scored = singles(120, seed=0), singles(40, seed=1)
    idle = QUICK.model_copy(update={"learning_rate": 1e-9, "head": MeanPoolSpec()})
    both = idle.model_copy(update={"further_learning_rates": (1e-2,)})
    alone = idle.model_copy(update={"learning_rate": 1e-2})
    told = [
        fine_tune(encoder, spec, label_type=Classes(2), train=train, scored=scored, seed=0)
        for spec in (idle, both, alone)
    ]
    assert (told[1] == told[2]).all()
    assert (told[0] != told[1]).any()
