"""What a linear map reads from frozen vectors (arXiv:1610.01644): ridge regression in closed form, cross-validated.

Duals are solved, n x n for n rows, because vectors are longer than rows are many. Nothing is random.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

FOLDS = 4


def folds(rows: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Cross-validation: pairs of masks (R,), the rows that a map is fitted to and those that it is asked about; every
    row is asked once. Row i is in fold i modulo 4."""
    fold = torch.arange(rows) % FOLDS
    return ((fold != number, fold == number) for number in range(FOLDS))


def as_stored(vectors: Tensor) -> Tensor:
    """In float64, rounded to bfloat16, in which vectors are kept and compared: collapsed concepts differ by less, and
    a linear map of unlimited precision would read them as if they did not."""
    return vectors.bfloat16().double()


def ridge(kernel: Tensor, answers: Tensor) -> Tensor:
    """kernel (n, n) = X X^T, answers (n, W) -> dual weights (n, W), (X X^T + penalty I)^-1 answers; the primal weights
    are X^T times these. The penalty is the kernel's mean eigenvalue (its trace / n), which makes the result the same at
    any scale of the vectors."""
    penalty = kernel.diagonal().mean().clamp_min(torch.finfo(kernel.dtype).tiny)
    weights: Tensor = torch.linalg.solve(kernel + penalty * torch.eye(len(kernel), dtype=kernel.dtype), answers)
    return weights


def explained(vectors: Tensor, values: Tensor) -> float:
    """Share of the variance of values (R,) that a linear map of vectors (R, F) tells of rows it did not see.

    About 0 where vectors know nothing of it (a little less, for a map of noise is worse than the mean), 1 where they
    say it exactly. ValueError where values do not vary.
    """
    if float(values.double().var()) == 0:
        raise ValueError(f"a probe of {len(values)} values that are all {float(values[0])} can tell nothing")
    stored, predicted = as_stored(vectors), torch.empty(len(values), dtype=torch.float64)
    for fitted, unseen in folds(len(values)):
        middle, mean = stored[fitted].mean(dim=0), values[fitted].double().mean()
        known, new = stored[fitted] - middle, stored[unseen] - middle
        predicted[unseen] = new @ (known.T @ ridge(known @ known.T, values[fitted].double() - mean)) + mean
    missed = (predicted - values).square().sum() / (values.double() - values.double().mean()).square().sum()
    return 1 - float(missed)
