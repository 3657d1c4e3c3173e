"""The kinds of vocabulary loss, by name: the same numbers up to rounding, at other costs.

`chunked` is the oracle of the others. On an H200, in bfloat16, 16,384 targets of 50,368 words at width 512 take `liger`
6 ms, loss and gradients, and `cut` 25; `chunked` spends 0.86 ms on what is 0.24 of `liger`'s 1.1 ms a chunk. See
docs/design/gpu.md and jobs/bench_gpu.py.
"""

from typing import Protocol

from torch import Tensor

from cogito_ray.nn.vocabulary_loss import chunked, cut, liger
from cogito_ray.nn.vocabulary_loss.chunked import Penalties
from cogito_ray.nn.vocabulary_loss.cuda_packages import installed


class WeightedSum(Protocol):
    """What every kind is."""

    def __call__(
        self,
        hidden: Tensor,
        weight: Tensor,
        *,
        bias: Tensor | None,
        targets: Tensor,
        weights: Tensor,
        penalties: Penalties,
    ) -> Tensor:
        """hidden (M, D), weight (V, D), bias (V,), targets and weights (M,) -> the sum over targets of weights x nats,
        penalties included. No gradient reaches `weights`."""


def auto(
    hidden: Tensor, weight: Tensor, *, bias: Tensor | None, targets: Tensor, weights: Tensor, penalties: Penalties
) -> Tensor:
    """`liger` on CUDA where it is installed, else `chunked`."""
    on_cuda = hidden.is_cuda and installed("liger_kernel")
    chosen: WeightedSum = liger.weighted_sum if on_cuda else chunked.weighted_sum
    return chosen(hidden, weight, bias=bias, targets=targets, weights=weights, penalties=penalties)


LOSSES: dict[str, WeightedSum] = {
    "auto": auto,
    "chunked": chunked.weighted_sum,
    "liger": liger.weighted_sum,
    "cut": cut.weighted_sum,
}
