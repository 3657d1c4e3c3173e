"""Which tokens concepts read, in words; what they know after each block."""

from functools import partial

import pytest
import torch
from torch import Tensor

from cogito_ray.evaluation.checkpoint_loader import TrainedModel
from cogito_ray.evaluation.frozen_concepts import encode, token_means
from cogito_ray.evaluation.inspection.layer_probes import every_layer, layer_probes, shortened
from cogito_ray.evaluation.inspection.parts_of_speech import INSTALLED, PARTS, parts_of_speech
from cogito_ray.evaluation.inspection.recursion_depth import metrics_by_depth
from cogito_ray.evaluation.inspection.token_attribution import KINDS, TokenAttribution, token_attribution
from cogito_ray.evaluation.validation.word_probes import WordProbes
from cogito_ray.nn.model import ConceptModel, ModelSpec


@pytest.fixture(scope="module")
def opened(trained) -> TrainedModel:
    return TrainedModel.open(trained[1])


@pytest.fixture(scope="module")
def rows(opened) -> Tensor:
    return torch.from_numpy(opened.corpus.held_out_rows(40))


def reading_one(opened: TrainedModel, text: str, place: int) -> TokenAttribution:
    """A concept that reads the token at `place`, in eight equal texts."""
    ids = opened.sentence_encoder.ids([text] * 8)                                     # (8, K)
    weights = torch.zeros(8, 1, ids.shape[1])
    weights[:, 0, place] = 1
    visible = torch.ones_like(ids, dtype=torch.bool)
    return TokenAttribution(ids, visible, weights, opened.corpus.tokenizer, visible[:, None])


def test_shares_sum_to_one_over_the_tokens_of_a_text(opened, rows):
    rows = rows.clone()
    rows[0, 5:] = opened.corpus.vocabulary.pad_id
    read = token_attribution(opened.model, rows, opened.corpus.tokenizer)
    torch.testing.assert_close(read.weights.sum(dim=-1), torch.ones(len(rows), 4))
    assert (read.weights[0, :, 5:] == 0).all()


def test_a_pooled_token_is_divided_among_those_it_stands_for(opened, rows):
    spec = ModelSpec.model_validate({"width": 16, "heads": 2, "concepts": 4, "encoder": {"tokens": {"kind": "funnel"}}})
    model = spec.build(opened.corpus.vocabulary, 16).eval()
    rows = rows[:2].clone()
    rows[0, 5:] = opened.corpus.vocabulary.pad_id
    weights = token_attribution(model, rows, opened.corpus.tokenizer).weights          # (2, 4, 16)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 4))
    torch.testing.assert_close(weights[..., 0], weights[..., 1])
    assert (weights[0, :, 5:] == 0).all()


def apart(opened: TrainedModel, concepts: int, tokens: str) -> ConceptModel:
    """An untrained model that reads the documents of a row apart."""
    model = {"width": 16, "heads": 2, "concepts": concepts, "attention": "document"}
    spec = ModelSpec.model_validate(model | {"encoder": {"tokens": {"kind": tokens}}})
    return spec.build(opened.corpus.vocabulary, 16).eval()


@pytest.mark.parametrize("tokens", ["raw", "funnel"])
def test_where_documents_share_a_row_a_concept_reads_its_own_alone(opened, tokens):
    model = apart(opened, concepts=4, tokens=tokens)
    rows = torch.randint(8, 300, (2, 16))
    rows[0, 6], rows[1, 8:] = opened.corpus.vocabulary.separator_id, opened.corpus.vocabulary.pad_id
    read = token_attribution(model, rows, opened.corpus.tokenizer)
    assert [own.sum(dim=1).tolist() for own in read.read_by] == [[7, 7, 9, 9], [8] * 4]   # their middles: 1.5 to 13.5
    torch.testing.assert_close(read.weights.sum(dim=-1), torch.ones(2, 4))
    assert (read.weights[~read.read_by] == 0).all()


def test_a_document_of_which_no_pooled_token_is_left_is_read_by_nobody(opened):
    model = apart(opened, concepts=8, tokens="funnel")
    rows = torch.randint(8, 300, (1, 16))
    rows[0, 14] = opened.corpus.vocabulary.separator_id                     # the second is the last token
    read = token_attribution(model, rows, opened.corpus.tokenizer)
    torch.testing.assert_close(read.weights.sum(dim=-1), torch.tensor([[1.0] * 7 + [0.0]]))
    assert (read.weights[..., 15] == 0).all()


def test_every_layer_of_documents_that_share_a_row_is_probed_as_it_was_trained(opened, rows):
    model, rows = apart(opened, concepts=4, tokens="raw"), rows.clone()
    rows[:, 7] = opened.corpus.vocabulary.separator_id
    assert torch.equal(every_layer(model, rows, 0)[-1], encode(model, rows, 0))


def test_what_a_concept_reads_is_told_in_words(opened):
    (attended,) = reading_one(opened, "concept 7", place=0).concept_attention()
    example = attended.examples[0]
    assert (example.before, example.share, attended.entropy, attended.position_bias) == ("", 1, 0, 1)
    assert attended.top_tokens == [example.token]
    assert "concept 7".startswith(example.token)
    assert example.token + example.after == "concept 7"


KINDS_OF = {". concept": "punctuation", "7 concept": "number", " to": "common word"}


@pytest.mark.parametrize(("text", "kind"), KINDS_OF.items())
def test_the_kind_of_the_token_that_is_read_is_lifted(opened, text: str, kind: str):
    reading = reading_one(opened, text, place=0)
    (attended,) = reading.concept_attention()
    assert max(attended.kinds, key=lambda name: attended.kinds[name]) == kind
    assert set(attended.kinds) <= {*KINDS, *PARTS}


def test_special_tokens_are_a_kind_of_their_own(opened):
    reading = reading_one(opened, "concept", place=0)
    reading.ids[:, 0] = opened.corpus.vocabulary.separator_id
    assert set(reading.concept_attention()[0].kinds) >= {"special"}


def test_an_attention_map_leaves_padding_out(opened, rows):
    rows = rows[:2].clone()
    rows[0, 5:] = opened.corpus.vocabulary.pad_id
    attention_map = token_attribution(opened.model, rows, opened.corpus.tokenizer).attention_map(0)
    assert [len(attention_map.tokens), *map(len, attention_map.weights)] == [5, 5, 5, 5, 5]


def test_texts_are_cut_to_what_they_are_said_to_hold(rows):
    cut, lengths = shortened(rows, pad_id=0)
    assert (cut != 0).sum(dim=1).tolist() == lengths.tolist()
    assert lengths.min() >= 4
    assert lengths.unique().numel() > 8


def test_the_last_layer_knows_what_the_rungs_of_a_sweep_are_told(opened, rows):
    *_, last = layer_probes(opened.model, rows, opened.corpus.vocabulary)
    asked = (partial(function, opened.model, pad_id=0) for function in (encode, token_means))
    told = WordProbes(rows, opened.corpus.vocabulary)(*asked)
    assert last.probes["word_content_auc"] == told["eval/word_content_auc"]
    assert last.probes["word_order_accuracy"] == told["eval/word_order_accuracy"]


def test_too_few_rows_are_not_probed(opened, rows):
    assert all(layer.probes == {} for layer in layer_probes(opened.model, rows[:8], opened.corpus.vocabulary))


def test_an_encoder_whose_blocks_are_its_own_is_not_iterated(opened):
    with pytest.raises(ValueError, match="only a tied encoder can be iterated; this one has 2 blocks"):
        next(metrics_by_depth(opened, [2, 4]))


@pytest.mark.skipif(not INSTALLED, reason="needs the extra pos (denckring-en-pos)")
def test_words_cut_into_tokens_have_the_part_of_speech_that_they_have_whole():
    pieces = ["The", " old", " gard", "ener", " quickly", " plan", "ted", " roses", "."]
    begins = [True, True, True, False, True, True, False, True, False]
    found = parts_of_speech(pieces, begins, [not first for first in begins[:-1]] + [False])
    expected = ["function word", "adjective", "noun", "noun", "adverb", "verb", "verb", "noun", "no part of speech"]
    assert [PARTS[number] for number in found] == expected


@pytest.mark.skipif(not INSTALLED, reason="needs the extra pos (denckring-en-pos)")
def test_what_reads_a_verb_lifts_verbs_whatever_token_of_it(opened):
    text = "we walked home"
    ids = opened.sentence_encoder.ids([text])[0].tolist()
    lifted = [
        number
        for place, number in enumerate(ids)
        if reading_one(opened, text, place).concept_attention()[0].kinds["verb"] > 1
    ]
    assert opened.corpus.tokenizer.tokenizer.decode(lifted).strip() == "walked"
