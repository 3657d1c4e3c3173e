from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from cogito_ray.evaluation.checkpoint_loader import TrainedModel
from cogito_ray.evaluation.frozen_concepts import encode
from cogito_ray.evaluation.protocols.task_runner import protocols_of, questions
from cogito_ray.evaluation.protocols.zero_shot_similarity import Stsb, cosines, similarities, whitened
from cogito_ray.evaluation.sentence_encoder import SentenceEncoder
from cogito_ray.evaluation.tasks.sentence_tasks import TASKS, Examples, read
from cogito_ray.evaluation.validation.validation_metrics import report_metrics
from cogito_ray.nn.model import ModelSpec
from cogito_ray.text.tokenizer import TextTokenizer
from cogito_ray.text.vocabulary_info import Vocabulary

TEXTS = ["concept token", "", "moment radius delta inform concept moment radius", "token"]


@pytest.fixture(scope="module")
def encoder(trained) -> SentenceEncoder:
    return TrainedModel.open(trained[1]).sentence_encoder


def pairs(count: int) -> Examples:
    draw = np.random.default_rng(0)
    words = np.array(["concept", "token", "moment", "radius", "delta", "inform"])
    one, two = ([" ".join(draw.choice(words, size=4)) for _ in range(count)] for _ in range(2))
    return Examples(one, two, draw.random(count))


def write_stsb(folder: Path, examples: Examples) -> Path:
    folder.mkdir(parents=True)
    for split in ("train", "validation"):
        table = {"sentence1": examples.one, "sentence2": examples.two, "label": examples.labels}
        parquet.write_table(pa.table(table), folder / f"{split}.parquet")
    return folder


def test_cosines_by_hand():
    one, two = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]), np.array([[2.0, 0.0], [-1.0, 1.0], [1.0, 1.0]])
    assert cosines(one, two).tolist() == [1.0, 0.0, 0.0]


def test_a_text_has_the_same_vector_whatever_it_is_encoded_with(encoder):
    together = encoder.pooled(TEXTS, "mean")
    for text, vector in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(encoder.pooled([text], "mean")[0], vector, atol=1e-5)     # order of float32 sums


def test_poolings_are_of_the_concepts_of_each_text(encoder):
    ids = encoder.ids(TEXTS[:1])
    concepts = encode(encoder.model, ids, encoder.tokenizer.vocabulary.pad_id)[0]             # (C, D)
    for pooling, expected in {"mean": concepts.mean(0), "max": concepts.amax(0), "all": concepts.flatten()}.items():
        np.testing.assert_allclose(encoder.pooled(TEXTS[:1], pooling)[0], expected, atol=1e-6)


def test_token_means_are_means_of_the_table(encoder):
    ids = encoder.ids(TEXTS[:1])[0]
    table = encoder.model.encoder.embedding.token.weight.detach()
    np.testing.assert_allclose(encoder.token_means(TEXTS)[0], table[ids].mean(0), atol=1e-6)


def test_weighed_token_means_count_a_token_by_its_inverse_frequency(encoder):
    texts, pad = TEXTS[:1] + TEXTS[2:], encoder.tokenizer.vocabulary.pad_id
    weights, ids = encoder.inverse_frequencies(texts), encoder.ids(texts)
    shares = torch.bincount(ids[ids != pad], minlength=len(weights)) / (ids != pad).sum()
    torch.testing.assert_close(weights, 1e-3 / (1e-3 + shares))
    table, own = encoder.model.encoder.embedding.token.weight.detach(), ids[0][ids[0] != pad]
    expected = (table[own] * weights[own, None]).sum(0) / weights[own].sum()
    np.testing.assert_allclose(encoder.token_means(texts, weights)[0], expected, rtol=1e-4, atol=1e-6)


def test_whitened_vectors_are_centred_and_uncorrelated_in_the_directions_in_which_they_vary():
    draw = np.random.default_rng(0).normal(size=(2, 30, 4)) @ np.diag([5.0, 1.0, 0.1, 0.0]) + 3
    white = whitened(draw).reshape(60, -1)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(white.T @ white / 60, np.eye(3), atol=1e-9)


def test_what_whitens_others_is_taken_from_them_alone():
    by, others = np.random.default_rng(0).normal(size=(2, 300, 4)) @ np.diag([5.0, 1.0, 0.1, 0.0]) + 3
    np.testing.assert_allclose(whitened(by, by), whitened(by))
    np.testing.assert_allclose(whitened(others, by)[:9], whitened(others[:9], by))
    shifted = whitened(others + by.std(axis=0), by) - whitened(others, by)          # by one deviation along each axis
    np.testing.assert_allclose(np.linalg.norm(shifted, axis=1), 3**0.5, rtol=0.1)


def test_a_long_text_is_cut_at_the_row_and_an_empty_one_is_a_separator(encoder):
    ids = encoder.ids(["concept " * 100, ""])
    facts = encoder.tokenizer.vocabulary
    assert ids.shape == (2, encoder.length)
    assert ids[1].tolist() == [facts.separator_id] + [facts.pad_id] * (encoder.length - 1)


def test_equal_texts_are_most_similar_under_every_pooling(encoder):
    texts = ["concept token", "moment radius"]
    for told in similarities(encoder, Examples(texts, texts, np.array([0.0, 1.0]))).values():
        assert told == pytest.approx([1.0, 1.0], abs=1e-6)


def test_a_run_reports_stsb_and_words_at_each_rung(trained, tmp_path):
    run, folder, total = trained
    found = TrainedModel.open(folder)
    stsb = write_stsb(tmp_path / "stsb", pairs(40))
    asked = run.evaluation.model_copy(update={"stsb": str(stsb)})
    other = run.model_copy(update={"evaluation": asked})
    told = report_metrics(other, found.corpus, found.corpus.vocabulary)(found.model)
    assert set(asked.metrics) < set(told)
    encoder = found.sentence_encoder
    alone = Stsb(stsb, encoder.tokenizer, encoder.length, encoder.ids(["moment radius"] * 3))(total.model)
    assert told["eval/stsb_spearman_mean"] == alone["eval/stsb_spearman_mean"]


def test_the_folder_of_stsb_must_be_absolute(trained):
    run = trained[0].model_dump(mode="json")
    run["evaluation"]["stsb"] = "data/stsb"
    with pytest.raises(ValueError, match="'data/stsb' is relative"):
        type(trained[0]).model_validate(run)


def test_every_score_of_a_task_stands_beside_baselines(encoder, tmp_path):
    write_stsb(tmp_path / "glue/stsb", pairs(60))
    asked = questions([TASKS["stsb"]], protocols_of(["zero-shot", "probe"]))
    results = [result for question in asked for result in question.ask(encoder, tmp_path)]
    assert len(read(TASKS["stsb"], "validation", tmp_path)) == results[0].examples
    probed = [(result.vectors, result.metric) for result in results if result.protocol == "probe"]
    named = ["mean", "token_means", "bag_of_words", "tf_idf", "majority"]
    assert probed == [(vectors, metric) for vectors in named for metric in ("pearson", "spearman")]
    compared = {result.vectors for result in results if result.protocol == "zero-shot"}
    means = {"token_means", "token_means_whitened", "weighted_token_means"}
    assert compared == {"mean", "mean_whitened", "max", "all", "bag_of_words", "tf_idf", "majority"} | means
    assert all(result.score.low <= result.score.high for result in results)
    assert [result.score.value for result in results if result.vectors == "majority"] == [0.0] * 4


def test_zero_shot_reads_the_scored_split_alone(encoder, tmp_path):
    folder = write_stsb(tmp_path / "glue/stsb", pairs(20))
    zero_shot, probe = questions([TASKS["stsb"]], protocols_of(["zero-shot", "probe"]))
    before = zero_shot.key(tmp_path)
    (folder / "train.parquet").unlink()
    assert zero_shot.faults(tmp_path) == []
    assert zero_shot.key(tmp_path) == before
    assert zero_shot.ask(encoder, tmp_path)[0].examples == 20
    [fault] = probe.faults(tmp_path)
    assert "train.parquet is missing" in fault


def test_pairs_of_which_an_end_was_not_read_are_counted(encoder, tmp_path):
    long = "concept " * (encoder.length + 1)
    examples = Examples(["concept", long, "token", long], ["token", "token", long, long], np.arange(4.0))
    write_stsb(tmp_path / "glue/stsb", examples)
    [question] = questions([TASKS["stsb"]], protocols_of(["zero-shot"]))
    assert {result.truncated for result in question.ask(encoder, tmp_path)} == {3}
    texts = ["x" * count for count in range(1, 100)]
    counts = [len(ids) for ids in encoder.tokenizer.encode(texts)]
    assert {encoder.length, encoder.length + 1} < set(counts)
    assert encoder.truncated(texts).tolist() == [count > encoder.length for count in counts]


def test_rare_shared_words_make_texts_more_alike_than_common_ones(encoder):
    one = ["the zebra", "the cat", "the dog", "the cow"]
    two = ["a zebra", "the owl", "the fox", "the elk"]
    told = similarities(encoder, Examples(one, two, np.arange(4.0)))
    assert told["tf_idf"][0] > told["tf_idf"][1]
    assert told["bag_of_words"][0] == pytest.approx(told["bag_of_words"][1])


def test_asking_leaves_a_model_in_training_mode(encoder):
    encoder.model.train()
    encoder.pooled(TEXTS, "mean")
    assert encoder.model.training
    encoder.model.eval()


def test_an_encoder_is_asked_iterated_and_stretched_and_is_left_as_it_was():
    words = Vocabulary(32, 0, 1, 2, (0, 1, 2))
    spec = ModelSpec.model_validate({"width": 16, "heads": 2, "concepts": 4, "encoder": {"tied": True, "depth": 2}})
    model = spec.build(words, 8).eval()
    tokenizer = Tokenizer(WordLevel({"a": 3}, unk_token="a"))
    tokenizer.pre_tokenizer = Whitespace()
    encoder = SentenceEncoder(model, TextTokenizer(tokenizer, words), 8)
    texts = [" ".join("a" * 12)]
    further = encoder.as_asked(iterations=4, length=12)
    assert (encoder.ids(texts).shape, further.ids(texts).shape) == ((1, 8), (1, 12))
    assert (model.encoder.depth, further.model.encoder.depth) == (2, 4)
    assert (encoder.length, further.length) == (8, 12)
    assert np.abs(further.pooled(texts, "mean") - encoder.pooled(texts, "mean")).max() > 1e-3
