"""How many directions a set of vectors uses, from its singular values s.

Effective rank is exp of the entropy of s / sum(s) (Roy & Vetterli, EUSIPCO 2007); nuclear rank is sum(s) / max(s).
Both are 1 for vectors on a line and min(n, D) for vectors spread evenly. Vectors are not centred.
"""

import torch
from torch import Tensor


def effective_rank(rows: Tensor) -> float:
    """rows (n, D) -> exp(entropy) of the normalised singular values. 0 for all-zero rows; NaN or inf is an error."""
    return float(effective_ranks(rows[None]))


def nuclear_rank(rows: Tensor) -> float:
    """rows (n, D) -> sum over largest singular value. 0 for all-zero rows; NaN or inf is an error."""
    return float(nuclear_ranks(rows[None]))


def effective_ranks(concepts: Tensor) -> Tensor:
    """concepts (T, C, D) -> (T,) float64, one per text."""
    singular = _singular(concepts)                                      # (T, min(C, D))
    share = singular / singular.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(singular.dtype).tiny)
    rank: Tensor = torch.special.entr(share).sum(dim=-1).exp()            # (T,)
    return rank * (singular[:, 0] > 0)


def spectrum_entropy_rank(spectrum: Tensor) -> float:
    """exp(entropy) of non-negative numbers (n,), normalised; 0 where all are 0."""
    share = spectrum / spectrum.sum().clamp_min(torch.finfo(spectrum.dtype).tiny)
    return float(torch.special.entr(share).sum().exp() * (spectrum.amax() > 0))


def nuclear_ranks(concepts: Tensor) -> Tensor:
    """concepts (T, C, D) -> (T,) float64, one per text."""
    singular = _singular(concepts)                                      # (T, min(C, D))
    return singular.sum(dim=-1) / singular[:, 0].clamp_min(torch.finfo(singular.dtype).tiny)


def _singular(concepts: Tensor) -> Tensor:
    """(T, C, D) -> (T, min(C, D)) float64, in descending order."""
    rows = concepts.detach().double()
    if broken := int((~torch.isfinite(rows)).sum()):
        raise ValueError(f"rank: {broken} of {rows.numel()} entries are NaN or infinite; look at the loss before them")
    gram = rows @ rows.mT if rows.shape[-2] <= rows.shape[-1] else rows.mT @ rows
    squares: Tensor = torch.linalg.eigvalsh(gram).flip(-1)              # (T, min(C, D)); 3 times as fast as svdvals
    rounding = squares[:, :1] * gram.shape[-1] * torch.finfo(gram.dtype).eps
    return squares.where(squares > rounding, 0.0).sqrt()                # below 1e-7 of the largest, nothing is known
