"""One checkpoint, looked at from all sides: geometry of its concepts, what they know, what they read."""

from collections.abc import Sequence

import torch

from cogito_ray.analysis import concept_metrics as measures
from cogito_ray.analysis.analysis_result import Analysis, Pictures
from cogito_ray.analysis.thresholds import conclude, judge
from cogito_ray.evaluation.checkpoint_loader import Trained
from cogito_ray.evaluation.frozen_concepts import encode
from cogito_ray.evaluation.inspection.layer_probes import layers
from cogito_ray.evaluation.inspection.recursion_depth import iterations
from cogito_ray.evaluation.inspection.token_attribution import Readings, readings

DRAWN = 60
"""Texts whose concepts the plane shows."""


def analyse(trained: Trained, *, name: str, texts: int, times: Sequence[int] = ()) -> Analysis:
    """Of at most `texts` held-out rows; `times`: how often to iterate a tied encoder besides.

    ValueError for times of an encoder that is not tied, or where concepts are not finite.
    """
    iterated = list(iterations(trained, times)) if times else []
    model, vocabulary = trained.model, trained.vocabulary
    available = sum(trained.corpus.held_out_available.values())
    rows = torch.from_numpy(trained.corpus.held_out_rows(min(texts, available)))    # (R, N)
    concepts = encode(model, rows, vocabulary.pad_id)                       # (R, C, D)
    depths, read = layers(model, rows, vocabulary), readings(model, rows, trained.tokenizer)
    figures = measures.figures(concepts) | depths[-1].probes
    findings = judge(figures)
    return Analysis(
        name=name,
        run=trained.run.digest(),
        step=trained.step,
        texts=len(rows),
        length=rows.shape[1],
        concepts=concepts.shape[1],
        width=concepts.shape[2],
        conclusion=conclude(findings),
        findings=findings,
        figures=figures,
        layers=depths,
        readers=read.readers(),
        pictures=_pictures(concepts, read),
        iterations=iterated,
    )


def _pictures(concepts: torch.Tensor, read: Readings) -> Pictures:
    of_texts, of_mean = measures.spectrum(concepts)
    plane, plane_shares = measures.plane(concepts)
    return Pictures(
        spectrum=of_texts,
        mean_spectrum=of_mean,
        cosines=measures.mean_cosines(concepts).tolist(),
        cosine_histogram=measures.cosine_histogram(concepts),
        places=read.places(),
        affinity=read.affinity(0),
        plane=[[(float(x), float(y)) for x, y in of_one] for of_one in plane[:DRAWN].transpose(0, 1)],
        plane_shares=plane_shares,
    )
