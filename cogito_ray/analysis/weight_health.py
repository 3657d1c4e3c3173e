"""Health of a model's weights: what is not finite, how large matrices are, how many directions they use, which of their
units are dead. Before any text is read: a sick matrix shows here when concepts only show that something is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

DEAD = 1e-3
"""A unit is dead whose weights have a smaller norm than this share of the matrix's median unit."""


@dataclass(frozen=True)
class MatrixHealth:
    """One matrix, whose rows are units."""

    name: str
    shape: tuple[int, ...]
    rms: float
    """Root mean square of its entries."""
    spectral_norm: float
    """The largest singular value."""
    stable_rank: float
    """Squared Frobenius norm over squared spectral norm: how many directions share in it, 1 at least."""
    dead_units: int


def refuse_broken(weights: Mapping[str, Tensor]) -> None:
    """ValueError with all that hold numbers which are not finite, and how many."""
    counts = {name: int((~weight.isfinite()).sum()) for name, weight in weights.items()}
    if broken := [f"{name} ({count} of {weights[name].numel()})" for name, count in counts.items() if count]:
        raise ValueError(f"weights are NaN or infinite, so nothing can be analysed: {', '.join(broken)}")


@torch.no_grad()
def matrices(weights: Mapping[str, Tensor]) -> list[MatrixHealth]:
    """Each weight of two axes or more, by name; leading axes are rows."""
    return [_matrix(name, weight.double().cpu().flatten(0, -2)) for name, weight in weights.items() if weight.ndim > 1]


def weight_metrics(found: Sequence[MatrixHealth]) -> dict[str, float]:
    """The worst of them."""
    return {
        "weight_dead_units_share": sum(one.dead_units for one in found) / sum(one.shape[0] for one in found),
        "weight_spectral_norm_largest": max(one.spectral_norm for one in found),
        "weight_stable_rank_share_smallest": min(one.stable_rank / min(one.shape) for one in found),
    }


def _matrix(name: str, rows: Tensor) -> MatrixHealth:
    gram = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
    largest, norms = float(torch.linalg.eigvalsh(gram)[-1].clamp_min(0)), rows.norm(dim=1)
    return MatrixHealth(
        name=name,
        shape=tuple(rows.shape),
        rms=float(rows.square().mean().sqrt()),
        spectral_norm=largest**0.5,
        stable_rank=float(rows.square().sum()) / largest if largest else 0.0,
        dead_units=int((norms <= DEAD * norms.median()).sum()),
    )
