"""The fused vocabulary loss equals the plain one, and never holds all logits."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from cogito_ray.nn.vocabulary_loss import chunked

TARGETS, WORDS, WIDTH = 300, 50, 8


@pytest.fixture
def parts() -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return {
        "hidden": torch.randn(TARGETS, WIDTH, generator=draw),
        "weight": torch.randn(WORDS, WIDTH, generator=draw),
        "bias": torch.randn(WORDS, generator=draw),
        "targets": torch.randint(0, WORDS, (TARGETS,), generator=draw),
        "weights": torch.rand(TARGETS, generator=draw).round(decimals=1),
    }


def gradients(loss: Tensor, parts: dict[str, Tensor]) -> list[Tensor]:
    loss.backward()
    return [parts[name].grad for name in ("hidden", "weight", "bias")]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("fused", ["nats", "weighted_sum"])
def test_loss_and_gradients_equal_those_of_plain_cross_entropy(parts: dict[str, Tensor], fused: str, smoothing: float):
    ours = {name: part.clone().requires_grad_(part.is_floating_point()) for name, part in parts.items()}
    theirs = {name: part.clone().requires_grad_(part.is_floating_point()) for name, part in parts.items()}
    hidden, weight, bias, targets, weights = ours.values()
    if fused == "nats":
        nats = chunked.nats(hidden, weight, bias=bias, targets=targets, label_smoothing=smoothing)
        loss = (nats * weights).sum()
    else:
        loss = chunked.weighted_sum(
            hidden, weight, bias=bias, targets=targets, weights=weights, penalties=chunked.Penalties(smoothing)
        )
    logits = F.linear(theirs["hidden"], theirs["weight"], theirs["bias"])
    plain = F.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing) @ parts["weights"]
    torch.testing.assert_close(loss, plain)
    torch.testing.assert_close(gradients(3 * loss, ours), gradients(3 * plain, theirs))


class Largest(TorchDispatchMode):
    """Notes the most elements that any operation's result held."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple) else (result,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


@pytest.mark.parametrize("fused", ["nats", "weighted_sum"])
def test_no_tensor_of_targets_by_words_is_ever_held(parts: dict[str, Tensor], fused: str):
    hidden, weight = parts["hidden"].requires_grad_(), parts["weight"].requires_grad_()
    with Largest() as largest:
        if fused == "nats":
            chunked.nats(hidden, weight, bias=None, targets=parts["targets"]).sum().backward()
        else:
            chunked.weighted_sum(
                hidden, weight, bias=None, targets=parts["targets"], weights=parts["weights"]
            ).backward()
    assert largest.elements == chunked._CPU_ROWS * WORDS < TARGETS * WORDS


def test_under_autocast_the_loss_stays_within_bfloat16_of_the_exact_one(parts: dict[str, Tensor]):
    hidden, weight, bias, targets, weights = (part.requires_grad_(part.is_floating_point()) for part in parts.values())
    with torch.autocast("cpu", torch.bfloat16):
        rough = chunked.weighted_sum(hidden, weight, bias=bias, targets=targets, weights=weights)
    rough.backward()
    exact = chunked.weighted_sum(hidden, weight, bias=bias, targets=targets, weights=weights)
    torch.testing.assert_close(rough, exact, rtol=2**-8, atol=0)     # bfloat16 keeps 8 bits
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32
