"""Isotropy of a set of vectors: how alike they are, how evenly they fill a sphere, how many dimensions they fill.

Ranks are in `effective_rank`, metrics under the names of earlier work in `concept_geometry`. Vectors must be finite.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

ROWS_AT_ONCE = 1024
KEPT = 0.9
"""Share of distance ratios that the intrinsic dimension is fitted to; the largest ones are the noisiest."""


def pairwise_cosines(concepts: Tensor) -> Tensor:
    """concepts (T, C, D) -> (T, C * (C - 1) / 2), each pair of one text once; 0 where a concept is 0."""
    unit = F.normalize(concepts.detach().double(), dim=-1)
    one, two = torch.triu_indices(concepts.shape[1], concepts.shape[1], offset=1)
    return (unit @ unit.mT)[:, one, two]


def duplicates_share(concepts: Tensor, above: float = 0.95) -> float:
    """Share of concepts (T, C, D), C > 1, that have a duplicate: another of their text, at a cosine above this."""
    unit = F.normalize(concepts.detach().double(), dim=-1)
    itself = torch.eye(concepts.shape[1], dtype=torch.bool)
    nearest = (unit @ unit.mT).masked_fill(itself.to(unit.device), -1.0).amax(dim=-1)      # (T, C)
    return float((nearest > above).double().mean())


def uniformity(rows: Tensor, temperature: float = 2.0) -> float:
    """log of the mean of exp(-t |x - y|^2) over pairs of rows (n, D) on the unit sphere (arXiv:2005.10242).

    0 where all point the same way; the lower, the more uniform, down to about -2t for a great many directions.
    """
    unit = F.normalize(rows.detach().double(), dim=-1)
    return float(torch.pdist(unit).square().mul(-temperature).exp().mean().log())


def participation_ratio(rows: Tensor) -> float:
    """(sum of variances)^2 / sum of their squares, along principal axes of rows (n, D): directions used, 1 to D
    (doi:10.1101/214262). 0 where rows do not vary."""
    variances = _variances(rows)
    return float(variances.sum().square() / variances.square().sum().clamp_min(torch.finfo(variances.dtype).tiny))


def directions_for(share: float, rows: Tensor) -> int:
    """How many principal axes hold this share of the variance of rows (n, D). 0 where rows do not vary."""
    variances = _variances(rows)
    held = variances.cumsum(dim=0)                                          # (min(n, D),)
    return int((held < share * held[-1] * (1 - 1e-12)).sum()) + 1 if held[-1] > 0 else 0


def first_share(rows: Tensor) -> float:
    """Largest singular value of rows (n, D), not centred, over their sum: 1 = all on one line. 0 for all-zero rows."""
    singular = torch.linalg.svdvals(rows.detach().double())
    return float(singular[0] / singular.sum().clamp_min(torch.finfo(singular.dtype).tiny))


def intrinsic_dimension(rows: Tensor) -> float:
    """TwoNN (doi:10.1038/s41598-017-11873-y) of rows (n, D): dimension of the surface they lie on, however it is bent.

    From each distinct row's distances r1 < r2 to its two nearest others: in d dimensions, mu = r2 / r1 is distributed
    as F(mu) = 1 - mu^-d, so -log(1 - F) = d log mu, and d is the slope of a line through the origin, fitted by least
    squares to the empirical F. ValueError where fewer than 10 rows are distinct. At most what m distinct rows of D
    numbers can span, m - 1 or D: that is its value for rows all equally far apart, where the slope would be infinite.
    """
    points = rows.detach().double().unique(dim=0)                           # (m, D)
    if len(points) < 10:
        raise ValueError(f"intrinsic dimension: {len(points)} of {len(rows)} rows are distinct; at least 10 are needed")
    exact = "donot_use_mm_for_euclid_dist"                                  # products lose what near rows differ by
    near = [torch.cdist(part, points, compute_mode=exact).topk(3, largest=False) for part in points.split(ROWS_AT_ONCE)]
    first, second = torch.cat([distances for distances, _ in near])[:, 1:].unbind(dim=1)    # (m,) each
    ratios = (second / first).log().sort().values
    below = torch.arange(len(ratios), dtype=torch.float64, device=ratios.device) / len(ratios)
    kept = slice(0, int(KEPT * len(ratios)))
    ratios, above = ratios[kept], -(1 - below[kept]).log()
    most, squares = min(len(points) - 1, points.shape[1]), float(ratios @ ratios)
    return min(float(ratios @ above) / squares, most) if squares else float(most)


def spectrum_decay(rows: Tensor) -> float:
    """alpha-ReQ (arXiv:2202.05808): a, where the variances of rows (n, D) along their principal axes fall like i^-a
    with the place i of the axis, by least squares on logarithms. 0 = alike in all directions, or no variance at all."""
    variances = _variances(rows)
    seen = variances[variances > 1e-9 * variances[0]].log()                 # rounding has no slope
    places = torch.arange(1, len(seen) + 1, dtype=seen.dtype, device=seen.device).log()
    if len(seen) < 2:
        return 0.0
    places = places - places.mean()
    return float(-(places @ seen) / places.square().sum())


def normality_gap(rows: Tensor, directions: int = 256) -> float:
    """How far rows (n, D), centred and at a mean variance of 1, are from an isotropic normal distribution: 0 = as that,
    along fixed random directions. (`epps_pulley` of them.)"""
    points = rows.detach().double()
    points = points - points.mean(dim=0)
    points = points / points.square().mean().sqrt().clamp_min(torch.finfo(points.dtype).tiny)
    generator = torch.Generator().manual_seed(0)
    axes = torch.randn(points.shape[1], directions, generator=generator, dtype=points.dtype).to(points.device)
    return float(epps_pulley(points, axes))


def epps_pulley(points: Tensor, axes: Tensor) -> Tensor:
    """SIGReg (LeJEPA, arXiv:2511.08544) without its factor n: how far points (n, D) are from a standard normal
    distribution, along the directions of axes (D, K) of any length -> scalar, 0 or more; a mean over directions.

    Of each, the Epps-Pulley distance (doi:10.1093/biomet/70.3.723) between the characteristic functions, by the
    trapezoid rule on 17 points from -5 to 5, weighed by a standard normal density's bell. Both sides of 0 are alike, so
    one is computed, twice as high. Memory: n * K * 9 numbers, a few times over.
    """
    at = torch.linspace(0, 5, 9, dtype=points.dtype, device=points.device)
    phases = (points @ F.normalize(axes, dim=0))[..., None] * at                # (n, K, 9)
    bell = (-at.square() / 2).exp()
    apart = (phases.cos().mean(dim=0) - bell).square() + phases.sin().mean(dim=0).square()      # (K, 9)
    return 2 * torch.trapezoid(apart * bell, at).mean()


def _variances(rows: Tensor) -> Tensor:
    """Along the principal axes of rows (n, D), in descending order, up to a factor. Rounding of equal rows is 0."""
    points = rows.detach().double()
    centred = points - points.mean(dim=0)
    if centred.abs().max() <= 1e-12 * points.abs().max():
        centred = torch.zeros_like(centred)
    variances: Tensor = torch.linalg.svdvals(centred).square()
    return variances
