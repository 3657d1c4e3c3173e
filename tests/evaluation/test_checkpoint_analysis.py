"""A healthy, a collapsed and a shuffled model: the last is diverse, and its concepts belong to other texts."""

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from cogito_ray.analysis.analysis_result import Analysis
from cogito_ray.analysis.thresholds import Conclusion, Rating
from cogito_ray.evaluation.checkpoint_loader import TrainedModel
from cogito_ray.evaluation.inspection.checkpoint_analysis import analyse
from cogito_ray.losses.total_loss import TotalLoss
from cogito_ray.nn.model import ConceptModel, ModelSpec
from cogito_ray.text.prepared_corpus import Source

STEPS, BATCH = 80, 32


def train_rows(source: Source) -> Tensor:
    shards = source.shards
    return torch.from_numpy(shards.train(np.arange(shards.manifest.rows("train"))).astype(np.int64))


@pytest.fixture(scope="module")
def healthy(trained) -> TrainedModel:
    """Trained for a second: a word is rebuilt from its segment's concept."""
    found = TrainedModel.open(trained[1])
    spec = ModelSpec.model_validate({"width": 32, "heads": 2, "concepts": 8, "decoder": {"kind": "position"}})
    torch.manual_seed(0)
    log_unigram = torch.from_numpy(found.corpus.log_unigram)
    total = TotalLoss(spec.build(found.corpus.vocabulary, found.run.data.length, log_unigram), found.run.loss)
    rows = torch.cat([train_rows(source) for source in found.corpus.sources])
    optimizer, draw = torch.optim.AdamW(total.parameters(), lr=5e-3), torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        batch = rows[torch.randint(len(rows), (BATCH,), generator=draw)]
        total(found.run.objective.corrupt(batch, found.corpus.vocabulary, draw)).total.backward()
        optimizer.step()
        optimizer.zero_grad()
    return replace(found, model=total.model.eval())


def looked_at(trained: TrainedModel, broken: Callable[[ConceptModel], object]) -> Analysis:
    model = copy.deepcopy(trained.model)
    broken(model)
    return analyse(replace(trained, model=model), name="made", texts=128)


def collapse(model: ConceptModel) -> None:
    """All concepts start as one and read what all others read."""
    with torch.no_grad():
        model.encoder.latents.vectors[:] = model.encoder.latents.vectors[0]


def shuffle(model: ConceptModel) -> None:
    """The encoder reads another text than it is given."""
    model.encoder.embedding.register_forward_hook(lambda module, given, vectors: vectors.roll(7, dims=0))


def rating(told: Analysis, metric: str) -> Rating:
    return next(found.rating for found in told.assessments if found.threshold.metric == metric)


def test_a_healthy_model_is_sound(healthy):
    told = looked_at(healthy, lambda model: None)
    assert told.conclusion is Conclusion.SOUND
    assert rating(told, "effective_rank_share") is rating(told, "word_content_auc") is Rating.PASS


def test_a_collapsed_model_is_critical_in_rank(healthy):
    told = looked_at(healthy, collapse)
    assert told.conclusion is Conclusion.COLLAPSED
    assert rating(told, "effective_rank_share") is rating(told, "duplicates_share") is Rating.CRITICAL


def test_a_shuffled_model_is_diverse_but_knows_nothing(healthy):
    told = looked_at(healthy, shuffle)
    assert told.conclusion is Conclusion.EMPTY
    assert rating(told, "effective_rank_share") is Rating.PASS
    for probe, chance in {"word_content_auc": 0.5, "word_order_accuracy": 0.5}.items():
        assert told.metrics[probe] == pytest.approx(chance, abs=0.04)
        assert rating(told, probe) is Rating.CRITICAL


def test_weights_are_looked_at_before_anything_is_read(healthy):
    def kill_half_a_layer(model: ConceptModel) -> None:
        with torch.no_grad():
            model.encoder.blocks[0].mlp.down.weight[:16] = 0

    told = looked_at(healthy, kill_half_a_layer)
    dead = {one.name: one.dead_units for one in told.weights if one.dead_units}
    assert dead == {"encoder.blocks.0.mlp.down.weight": 16}
    assert told.metrics["weight_dead_units_share"] > 0


def test_a_checkpoint_with_a_nan_is_refused_by_the_name_of_its_weight(healthy):
    def break_one(model: ConceptModel) -> None:
        with torch.no_grad():
            model.encoder.norm.weight[0] = torch.nan

    with pytest.raises(ValueError, match=r"encoder\.norm\.weight \(1 of 32\)"):
        looked_at(healthy, break_one)
