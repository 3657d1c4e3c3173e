"""Cut cross-entropy (arXiv:2411.09009): logits are made and used up inside the chip, forward and again backward, and
never reach the device's memory.
"""

import torch
from torch import Tensor

from cogito_ray.nn.vocabulary_loss.chunked import Penalties, autocast
from cogito_ray.nn.vocabulary_loss.cuda_packages import imported


def weighted_sum(
    hidden: Tensor, weight: Tensor, *, bias: Tensor | None, targets: Tensor, weights: Tensor, penalties: Penalties
) -> Tensor:
    """As `chunked.weighted_sum`; backward makes each logit again, in five products of which three make gradients.

    ValueError where the package is not installed, or has no device to run on.
    """
    package = imported("cut_cross_entropy", kind="cut", device=hidden.device)
    hidden, weight, smoothing = autocast(hidden), autocast(weight), penalties.label_smoothing
    with torch.autocast(hidden.device.type, enabled=False):     # it would round the bias
        nats, normaliser = package.linear_cross_entropy(
            hidden,
            weight,
            targets,
            bias=bias,
            reduction="none",
            return_lse=True,
            filter_eps=None,                                    # leave out no gradient, however small
            accum_e_fp32=True,
            accum_c_fp32=True,
        )                                                       # (M,) each
        if smoothing:
            mean = hidden.float() @ weight.float().mean(dim=0)  # (M,) of the logits of a row
            mean = mean if bias is None else mean + bias.mean()
            nats = (1 - smoothing) * nats + smoothing * (normaliser - mean)
        total: Tensor = ((nats + penalties.z_loss * normaliser.square()) * weights).sum()
    return total
