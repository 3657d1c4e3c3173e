"""What a linear map reads from frozen vectors (arXiv:1610.01644): ridge regression in closed form, cross-validated.

Duals are solved, n x n for n rows, because vectors are longer than rows are many. Nothing is random.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

FOLDS = 4


def folds(rows: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Which rows (R,) a map is fitted to, and which it is asked about: every row once."""
    fold = torch.arange(rows) % FOLDS
    return ((fold != number, fold == number) for number in range(FOLDS))


def as_stored(vectors: Tensor) -> Tensor:
    """In float64, rounded to bfloat16, in which vectors are kept and compared: collapsed concepts differ by less, and
    a linear map of unlimited precision would read them as if they did not."""
    return vectors.bfloat16().double()


def ridge(kernel: Tensor, answers: Tensor) -> Tensor:
    """Dual weights (n, W) of ridge regression; the penalty is the kernel's (n, n) mean eigenvalue, which makes the
    result the same at any scale of the vectors."""
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
    stored, told = as_stored(vectors), torch.empty(len(values), dtype=torch.float64)
    for seen, asked in folds(len(values)):
        middle, mean = stored[seen].mean(dim=0), values[seen].double().mean()
        known, new = stored[seen] - middle, stored[asked] - middle
        told[asked] = new @ (known.T @ ridge(known @ known.T, values[seen].double() - mean)) + mean
    missed = (told - values).square().sum() / (values.double() - values.double().mean()).square().sum()
    return 1 - float(missed)
