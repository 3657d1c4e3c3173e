"""All metrics of a set of concepts in one table, each under one name: the input of `thresholds`."""

import torch
from torch import Tensor

from cogito_ray.analysis.concept_geometry import geometry
from cogito_ray.analysis.effective_rank import effective_rank, effective_ranks, nuclear_ranks
from cogito_ray.analysis.isotropy import (
    directions_for,
    duplicates_share,
    first_share,
    intrinsic_dimension,
    normality_gap,
    pairwise_cosines,
    spectrum_decay,
    uniformity,
)

PAIRED = 2000
"""Concepts, evenly chosen, among which all distances are taken."""
FEWEST = 10
"""Distinct concepts of which an intrinsic dimension can be estimated."""


def concept_metrics(concepts: Tensor) -> dict[str, float]:
    """concepts (T, C, D) of T texts -> named metrics; those named `mean_*` are of the mean text, those
    named `pooled_*` of the texts' mean concepts.

    Shares of what is possible (C or D at most) compare across models of other sizes. ValueError for a single concept
    or for NaN.
    """
    _, count, width = concepts.shape
    if count < 2:
        raise ValueError(f"a text of {count} concept has no pairs to compare; analyse a model of two or more")
    per_text, nuclear = effective_ranks(concepts), nuclear_ranks(concepts)  # (T,)
    most, named = min(count, width), geometry(concepts)
    rows, pooled = concepts.flatten(0, 1), concepts.mean(dim=1)             # (T * C, D), (T, D)
    return named | _pairs(concepts) | {
        "effective_rank": float(per_text.mean()),
        "effective_rank_share": float(per_text.mean()) / most,
        "nuclear_rank": float(nuclear.mean()),
        "mean_effective_rank": effective_rank(concepts.mean(dim=0)),
        "mean_nuclear_rank_share": named["mean_nuclear_rank"] / most,
        "mean_first_share": first_share(concepts.mean(dim=0)),
        "first_share": float(torch.tensor([first_share(text) for text in concepts]).mean()),
        "participation_share": named["participation_ratio"] / width,
        "directions_for_95_percent": float(directions_for(0.95, rows)),
        "mean_directions_for_95_percent_share": named["mean_directions_for_95_percent"] / most,
        "active_dimensions_share": 1 - named["collapsed_dimensions"] / width,
        "text_share": text_share(concepts),
        "pooled_effective_rank": effective_rank(pooled),                    # RankMe, arXiv:2210.02885
        "pooled_spectrum_decay": spectrum_decay(pooled),
        "pooled_normality_gap": normality_gap(pooled),
    }  # fmt: skip


def _pairs(concepts: Tensor) -> dict[str, float]:
    """What takes all pairs."""
    rows = concepts.flatten(0, 1)
    some = rows[:: -(-len(rows) // PAIRED)].double()                        # at most 2000
    distinct = len(some.unique(dim=0))
    return {
        "duplicates_share": duplicates_share(concepts),
        "cosine_largest_of_text": float(pairwise_cosines(concepts).amax(dim=1).mean()),
        "uniformity": uniformity(some),
        "intrinsic_dimension": intrinsic_dimension(some) if distinct >= FEWEST else 0.0,
    }


def text_share(concepts: Tensor) -> float:
    """Share of the variance of concepts (T, C, D) that lies between texts: 0 = each concept is the same for all texts,
    1 = all concepts have one mean. 0 where nothing varies."""
    rows = concepts.double()
    means = rows.mean(dim=0)                                                # (C, D)
    between_concepts = (means - means.mean(dim=0)).square().sum() * len(rows)
    all_variance = (rows - rows.mean(dim=(0, 1))).square().sum()
    negligible = all_variance <= 1e-12 * rows.square().sum()
    return 0.0 if negligible else float(1 - between_concepts / all_variance)


def cosine_histogram(concepts: Tensor, bins: int = 40) -> list[float]:
    """Shares of the cosines of two different concepts of one text in `bins` equal parts of -1 to 1."""
    counts = torch.histc(pairwise_cosines(concepts).float().clamp(-1, 1), bins=bins, min=-1, max=1)
    return [float(share) for share in counts / counts.sum()]


def spectrum(concepts: Tensor) -> tuple[list[float], list[float]]:
    """Singular values over their sum, descending: the mean over texts, and those of the mean text. 0 for zeros."""
    of_texts = torch.linalg.svdvals(concepts.double())                      # (T, min(C, D))
    of_mean = torch.linalg.svdvals(concepts.double().mean(dim=0))
    tiny = torch.finfo(of_mean.dtype).tiny
    shares = of_texts / of_texts.sum(dim=-1, keepdim=True).clamp_min(tiny)
    return shares.mean(dim=0).tolist(), (of_mean / of_mean.sum().clamp_min(tiny)).tolist()


def mean_cosines(concepts: Tensor) -> Tensor:
    """(C, C) mean over texts of the cosines between concepts."""
    unit = torch.nn.functional.normalize(concepts.double(), dim=-1)
    return (unit @ unit.mT).mean(dim=0)


def principal_plane(concepts: Tensor) -> tuple[Tensor, list[float]]:
    """(T, C, 2) concepts on their first two principal axes, and the share of the variance that each axis holds."""
    rows = concepts.double().flatten(0, 1)
    centred = rows - rows.mean(dim=0)
    _, singular, axes = torch.linalg.svd(centred, full_matrices=False)
    energy = singular.square()
    shares = energy / energy.sum().clamp_min(torch.finfo(energy.dtype).tiny)
    return (centred @ axes[:2].T).unflatten(0, concepts.shape[:2]), shares[:2].tolist()
