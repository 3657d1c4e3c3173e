"""How much of a text is left in one vector of it when the text is corrupted or cut: measures of meaning that read no
labels. Of too few texts they say little: in D dimensions, ask about D of them or more."""

import torch
from torch import Tensor

from cogito_ray.analysis.effective_rank import spectrum_entropy_rank
from cogito_ray.analysis.ridge_regression import FOLDS, as_stored, folds, ridge

WITHIN = 1e-4
"""Share of the mean variance that is added to what views of a text differ by, so that it can be divided by."""


def lidar(views: Tensor) -> float:
    """LiDAR (arXiv:2312.04000) of vectors (T, Q, D) of Q > 1 corrupted views of each of T texts: the effective rank of
    the variance between texts in units of that within them. 1 to D: directions in which texts are told apart whatever
    the corruption; 0 where nothing varies."""
    points = as_stored(views)
    means = points.mean(dim=1)                                              # (T, D)
    between, within = _covariance(means), _covariance((points - means[:, None]).flatten(0, 1))
    variance = (between + within).diagonal().mean()
    if variance <= 1e-12 * points.square().mean():
        return 0.0
    within = within + WITHIN * variance * torch.eye(len(within), dtype=within.dtype)
    root = torch.linalg.cholesky(within)
    half = torch.linalg.solve_triangular(root, between, upper=False)        # L^-1 B
    discriminant = torch.linalg.solve_triangular(root, half.T, upper=False)     # L^-1 B L^-T
    return spectrum_entropy_rank(torch.linalg.eigvalsh(discriminant).clamp_min(0.0))


def information_nats(one: Tensor, other: Tensor) -> float:
    """What vectors (T, D) of one part of each text tell of those (T, E) of another part: their differential entropy
    less that given `one`, in nats.

    FLARE (arXiv:2604.17344) with the simplest of its flows: both densities are normal and independent along the
    principal axes of `other`, the conditional one around a linear prediction that did not see the text. Along an axis
    whose prediction correlates with it by r, that is -log(1 - r^2) / 2. Where parts know nothing of each other, what is
    left is chance, E / 4T nats; 0 for fewer than 8 texts.
    """
    if len(one) < 2 * FOLDS:
        return 0.0
    known, asked = as_stored(one), as_stored(other)
    predicted, apart = torch.empty_like(asked), torch.empty_like(asked)
    for fitted, unseen in folds(len(asked)):
        middle, mean = known[fitted].mean(dim=0), asked[fitted].mean(dim=0)
        seen, new = known[fitted] - middle, known[unseen] - middle
        apart[unseen] = asked[unseen] - mean
        predicted[unseen] = new @ (seen.T @ ridge(seen @ seen.T, asked[fitted] - mean))
    axes = torch.linalg.svd(apart, full_matrices=False).Vh                  # (min(T, E), E)
    told, true = predicted @ axes.T, apart @ axes.T                         # (T, min(T, E)) each
    correlations = torch.cosine_similarity(told, true, dim=0).clamp(0.0, 1 - 1e-6)
    return float(-torch.log1p(-correlations.square()).sum() / 2)


def _covariance(rows: Tensor) -> Tensor:
    """(n, D) -> (D, D)."""
    centred = rows - rows.mean(dim=0)
    return centred.T @ centred / len(rows)
