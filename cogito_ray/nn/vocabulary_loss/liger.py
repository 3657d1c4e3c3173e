"""The chunked loss with Liger's Triton kernel (arXiv:2410.10989), which reads a chunk's logits twice and writes them
once, in their own precision. Its fused linear loss would do as well, but waits for the device once a call.
"""

import torch
from torch import Tensor

from cogito_ray.nn.vocabulary_loss import chunked
from cogito_ray.nn.vocabulary_loss.chunked import Kernel, Penalties
from cogito_ray.nn.vocabulary_loss.cuda_packages import imported

_WARPS = 32
"""Of a row's thread block, as Liger itself sets it for Hopper and older devices."""


def weighted_sum(
    hidden: Tensor, weight: Tensor, *, bias: Tensor | None, targets: Tensor, weights: Tensor, penalties: Penalties
) -> Tensor:
    """As `chunked.weighted_sum`. ValueError where Liger is not installed, or has no device to run on."""
    return chunked.weighted_sum(
        hidden, weight, bias=bias, targets=targets, weights=weights, penalties=penalties, kernel=KERNEL
    )


def descend(logits: Tensor, targets: Tensor, penalties: Penalties) -> Tensor:
    """A `chunked.Kernel` for logits of any precision; sums are in float32."""
    liger = imported("liger_kernel.ops.cross_entropy", kind="liger", device=logits.device)
    rows, words = logits.shape
    nats = torch.empty(rows, device=logits.device)
    absent = {"weight_ptr": None, "z_loss_ptr": None, "token_accuracy_ptr": None, "predicted_tokens_ptr": None}
    liger.liger_cross_entropy_kernel[(rows,)](
        **absent,
        X_ptr=logits,
        X_stride=logits.stride(0),
        Y_ptr=targets,
        Y_stride=targets.stride(0),
        loss_ptr=nats,
        loss_stride=nats.stride(0),
        token_accuracy_stride=0,
        predicted_tokens_stride=0,
        n_cols=words,
        n_non_ignore=rows,
        sum_non_ignore_weight=rows,
        weight_sum=0.0,
        ignore_index=-1,
        lse_square_scale=penalties.z_loss,
        label_smoothing=penalties.label_smoothing,
        reduction="none",
        softcap=None,
        RETURN_Z_LOSS=False,
        RETURN_TOKEN_ACCURACY=False,
        RETURN_PREDICTED_TOKENS=False,
        BLOCK_SIZE=min(liger.MAX_FUSED_SIZE, 1 << (words - 1).bit_length()),
        HAS_WEIGHT=False,
        HAS_SOFTCAPPING=False,
        HAS_GRADIENTS=True,
        num_warps=_WARPS,
    )
    return nats


KERNEL = Kernel(descend, dtype=None)
