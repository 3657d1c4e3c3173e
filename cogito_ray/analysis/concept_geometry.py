"""How concepts lie in their space: norms, cosines, spectrum of their covariance. T texts, C concepts, D width."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cogito_ray.analysis.effective_rank import nuclear_rank
from cogito_ray.analysis.isotropy import participation_ratio

COLLAPSED = 0.01
"""A dimension whose standard deviation is smaller counts as collapsed."""


def geometry(concepts: Tensor) -> dict[str, float]:
    """concepts (T, C, D), finite, T * C > 1 -> named metrics of the whole batch; `mean_*`: of the mean text."""
    concepts = concepts.detach().double()
    return _norms(concepts) | _cosines(concepts) | _dimensions(concepts) | _mean_spectrum(concepts.mean(dim=0))


def _norms(concepts: Tensor) -> dict[str, float]:
    norms = concepts.norm(dim=-1)                                           # (T, C)
    return _summary("norm", norms) | {"norm_smallest": float(norms.min())}


def _cosines(concepts: Tensor) -> dict[str, float]:
    """Of two different concepts of one text; the mean is that of absolute values. Closeness is the mean Gaussian kernel
    of arXiv:2005.10242: 1 = all alike, exp(-4) = 0.018 for orthogonal ones."""
    unit = F.normalize(concepts, dim=-1)
    count = concepts.shape[1]
    one, two = torch.triu_indices(count, count, offset=1)
    cosines = (unit @ unit.mT)[:, one, two]                                 # (T, C * (C - 1) / 2)
    both = torch.cat([cosines, cosines], dim=1)                             # each pair is counted from both its ends
    kernel = (4 * cosines - 4).exp()                                        # exp(-2 d^2) of unit vectors at distance d
    return _summary("cosine", both) | {"cosine_mean": float(cosines.abs().mean()), "closeness": float(kernel.mean())}


def _summary(name: str, values: Tensor) -> dict[str, float]:
    parts = {"mean": values.mean(), "deviation": values.std(), "largest": values.max()}
    return {f"{name}_{part}": float(value) for part, value in parts.items()}


def _dimensions(concepts: Tensor) -> dict[str, float]:
    """Spread over all concepts of all texts. A final layer norm leaves one direction without variance, and with it no
    isotropy."""
    rows = concepts.flatten(0, 1)                                           # (T * C, D)
    deviations = rows.std(dim=0)                                            # (D,)
    variances = torch.linalg.svdvals(rows - rows.mean(dim=0)).square()      # (min(T * C, D),), descending
    return {
        **_summary("dimension_deviation", deviations),
        "dimension_deviation_smallest": float(deviations.min()),
        "collapsed_dimensions": float((deviations < COLLAPSED).sum()),
        "participation_ratio": participation_ratio(rows),
        "isotropy": float(variances[-1] / variances[0].clamp_min(torch.finfo(variances.dtype).tiny)),
    }


def _mean_spectrum(mean: Tensor) -> dict[str, float]:
    """Of the batch-mean concepts (C, D), not centred."""
    energy = torch.linalg.svdvals(mean).square()
    share = (energy / energy.sum().clamp_min(torch.finfo(energy.dtype).tiny)).cumsum(dim=0)
    return {
        "mean_nuclear_rank": nuclear_rank(mean),
        "mean_energy_top_1": float(share[0]),
        "mean_energy_top_5": float(share[:5][-1]),
        "mean_directions_for_95_percent": float((share < 0.95).sum() + 1),
    }
