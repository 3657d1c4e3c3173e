"""An exported model, asked by another library, says what ours says."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cogito_ray.cli import main
from cogito_ray.evaluation.bootstrap_metrics import value_of
from cogito_ray.evaluation.checkpoint_loader import TrainedModel
from cogito_ray.evaluation.protocols.zero_shot_similarity import similarities
from cogito_ray.evaluation.tasks.sentence_tasks import Examples

FIRST = ["concept token", "a radius, and [SEP] a delta", "Moment!", "inform " * 30, "delta radius", "token"]
SECOND = ["concept moment", "a radius and a delta", "token token", "inform inform", "radius delta", "concept"]
GRADES = np.array([3.4, 4.8, 0.2, 2.5, 4.0, 1.0])


@pytest.fixture(scope="module")
def library():
    """Imported here, for it takes seconds, which every process that collects tests would pay."""
    return pytest.importorskip("sentence_transformers")


@pytest.fixture(scope="module")
def opened(trained) -> TrainedModel:
    """With weights large enough for texts to differ."""
    found = TrainedModel.open(trained[1])
    torch.manual_seed(0)
    for parameter in found.model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return found


def test_the_command_writes_the_checkpoint_that_it_is_given(library, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["cogito-ray", "export", str(trained[1]), str(tmp_path / "out")])
    with pytest.raises(SystemExit) as end:
        main()
    assert (end.value.code, str(tmp_path / "out") in capsys.readouterr().out) == (0, True)
    vectors = library.SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(FIRST)
    np.testing.assert_allclose(vectors, TrainedModel.open(trained[1]).sentence_encoder.pooled(FIRST, "mean"), atol=1e-5)


@pytest.fixture(scope="module")
def exported(opened, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    opened.export(folder)
    return folder


def test_its_vectors_are_our_mean_concepts_also_of_long_texts_and_of_spelled_out_special_tokens(
    library, opened, exported
):
    vectors = library.SentenceTransformer(str(exported), device="cpu").encode(FIRST)
    np.testing.assert_allclose(vectors, opened.sentence_encoder.pooled(FIRST, "mean"), atol=1e-5)


def test_its_evaluator_of_similarity_agrees_with_our_zero_shot_scores(library, opened, exported):
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    evaluator = EmbeddingSimilarityEvaluator(FIRST, SECOND, GRADES.tolist(), main_similarity="cosine", write_csv=False)
    theirs = evaluator(library.SentenceTransformer(str(exported), device="cpu"))
    ours = similarities(opened.sentence_encoder, Examples(FIRST, SECOND, GRADES))["mean"]
    assert theirs["spearman_cosine"] == pytest.approx(value_of("spearman", GRADES, ours))
    assert theirs["pearson_cosine"] == pytest.approx(value_of("pearson", GRADES, ours), abs=1e-6)
