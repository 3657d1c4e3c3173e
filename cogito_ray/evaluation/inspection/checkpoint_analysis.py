"""One checkpoint, looked at from all sides: geometry of its concepts, what they know, what they read."""

from collections.abc import Sequence

import torch

from cogito_ray.analysis import metrics_by_name as measures
from cogito_ray.analysis.analysis_result import Analysis, Plots
from cogito_ray.analysis.thresholds import assess, conclude
from cogito_ray.analysis.weight_health import matrices, refuse_broken, weight_metrics
from cogito_ray.evaluation.checkpoint_loader import TrainedModel
from cogito_ray.evaluation.frozen_concepts import encode
from cogito_ray.evaluation.inspection.layer_probes import layer_probes
from cogito_ray.evaluation.inspection.recursion_depth import metrics_by_depth
from cogito_ray.evaluation.inspection.token_attribution import TokenAttribution, token_attribution

DRAWN = 60
"""Texts whose concepts the plane shows."""


def analyse(trained: TrainedModel, *, name: str, texts: int, times: Sequence[int] = ()) -> Analysis:
    """Of at most `texts` held-out rows; `times`: how often to iterate a tied encoder besides.

    ValueError for times of an encoder that is not tied, or where weights or concepts are not finite.
    """
    weights = dict(trained.model.named_parameters())
    refuse_broken(weights)
    by_depth = list(metrics_by_depth(trained, times)) if times else []
    model, vocabulary = trained.model, trained.vocabulary
    available = sum(trained.corpus.held_out_available.values())
    rows = torch.from_numpy(trained.corpus.held_out_rows(min(texts, available)))    # (R, N)
    concepts = encode(model, rows, vocabulary.pad_id)                       # (R, C, D)
    depths, read = layer_probes(model, rows, vocabulary), token_attribution(model, rows, trained.tokenizer)
    health = matrices(weights)
    metrics = measures.concept_metrics(concepts) | depths[-1].probes | weight_metrics(health)
    assessments = assess(metrics)
    return Analysis(
        name=name,
        run=trained.run.digest(),
        step=trained.step,
        texts=len(rows),
        length=rows.shape[1],
        concepts=concepts.shape[1],
        width=concepts.shape[2],
        conclusion=conclude(assessments),
        assessments=assessments,
        metrics=metrics,
        layers=depths,
        concept_attention=read.concept_attention(),
        plots=_plots(concepts, read),
        iterations=by_depth,
        weights=health,
    )


def _plots(concepts: torch.Tensor, read: TokenAttribution) -> Plots:
    of_texts, of_mean = measures.spectrum(concepts)
    points, pca_variance = measures.principal_plane(concepts)
    return Plots(
        spectrum=of_texts,
        mean_spectrum=of_mean,
        cosines=measures.mean_cosines(concepts).tolist(),
        cosine_histogram=measures.cosine_histogram(concepts),
        positions=read.positions(),
        attention_map=read.attention_map(0),
        pca=[[(float(x), float(y)) for x, y in of_one] for of_one in points[:DRAWN].transpose(0, 1)],
        pca_variance=pca_variance,
    )
