"""The vocabulary losses equal the plain one, and never hold all logits.

Triton's kernels run on CUDA, or by Triton's interpreter (`make kernels`); where neither is, their tests skip.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from cogito_ray.nn.vocabulary_loss import chunked, cuda_packages
from cogito_ray.nn.vocabulary_loss.chunked import Penalties
from cogito_ray.nn.vocabulary_loss.loss_kinds import LOSSES

TARGETS, WORDS, WIDTH = 600, 50, 16
PACKAGES = {"liger": "liger_kernel", "cut": "cut_cross_entropy"}
Parts = dict[str, Tensor]


def device_of(kind: str) -> torch.device:
    """Where a kind can be tried here; else the test skips."""
    needed = PACKAGES.get(kind)
    if needed and not cuda_packages.installed(needed):
        pytest.skip(f"{needed} is not installed")
    interpreted = kind == "liger" and cuda_packages.interpreted()      # which has no log1p, as `cut` needs
    if needed and not torch.cuda.is_available() and not interpreted:
        pytest.skip(f"{needed} needs CUDA")
    return torch.device("cuda" if needed and torch.cuda.is_available() else "cpu")


def parts(targets: int = TARGETS) -> Parts:
    draw = torch.Generator().manual_seed(0)
    return {
        "hidden": torch.randn(targets, WIDTH, generator=draw),
        "weight": torch.randn(WORDS, WIDTH, generator=draw),
        "bias": torch.randn(WORDS, generator=draw),
        "targets": torch.randint(0, WORDS, (targets,), generator=draw),
        "weights": torch.rand(targets, generator=draw).round(decimals=1),
    }


def loss_and_gradients(loss: Callable[[Parts], Tensor], given: Parts, device: torch.device) -> list[Tensor]:
    """Of three times the loss, whose gradient is not 1."""
    mine = {name: part.detach().to(device, copy=True) for name, part in given.items()}
    inputs = [mine[name].requires_grad_() for name in ("hidden", "weight", "bias")]
    value = loss(mine)
    (3 * value).backward()
    return [value.detach().cpu(), *(part.grad.cpu() if part.grad is not None else torch.zeros(1) for part in inputs)]


def plain(penalties: Penalties) -> Callable[[Parts], Tensor]:
    """As one would write it, with all logits at once."""

    def loss(of: Parts) -> Tensor:
        logits = F.linear(of["hidden"], of["weight"], of["bias"])
        smoothing = penalties.label_smoothing
        nats = F.cross_entropy(logits, of["targets"], reduction="none", label_smoothing=smoothing)
        return (nats + penalties.z_loss * logits.logsumexp(dim=1).square()) @ of["weights"]

    return loss


def fused(kind: str, penalties: Penalties) -> Callable[[Parts], Tensor]:
    return lambda of: LOSSES[kind](
        of["hidden"], of["weight"], bias=of["bias"], targets=of["targets"], weights=of["weights"], penalties=penalties
    )


PENALTIES = [Penalties(), Penalties(0.1), Penalties(z_loss=0.01), Penalties(0.1, 0.01)]


@pytest.mark.parametrize("penalties", PENALTIES, ids=str)
@pytest.mark.parametrize("kind", LOSSES)
def test_loss_and_gradients_equal_those_of_plain_cross_entropy(kind: str, penalties: Penalties):
    device, given = device_of(kind), parts(40 if kind in PACKAGES else TARGETS)     # an interpreter is slow
    theirs = loss_and_gradients(plain(penalties), given, torch.device("cpu"))
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if kind in PACKAGES else {}            # their exponentials are approximate
    torch.testing.assert_close(loss_and_gradients(fused(kind, penalties), given, device), theirs, **tolerance)


@pytest.mark.parametrize("kind", LOSSES)
def test_under_autocast_the_loss_stays_within_bfloat16_of_the_exact_one(kind: str):
    device, given = device_of(kind), parts(40)
    with torch.autocast(device.type, torch.bfloat16):
        rough = loss_and_gradients(fused(kind, Penalties(0.1)), given, device)
    exact = loss_and_gradients(fused("chunked", Penalties(0.1)), given, torch.device("cpu"))
    torch.testing.assert_close(rough[0], exact[0], rtol=2**-8, atol=0)              # bfloat16 keeps 8 bits
    for ours, theirs in zip(rough[1:], exact[1:], strict=True):
        assert ours.dtype == torch.float32
        assert F.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 1 - 2**-12


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_nats_and_their_gradients_equal_those_of_plain_cross_entropy(smoothing: float):
    def ours(of: Parts) -> Tensor:
        nats = chunked.nats(
            of["hidden"], of["weight"], bias=of["bias"], targets=of["targets"], label_smoothing=smoothing
        )
        return nats @ of["weights"]

    cpu = torch.device("cpu")
    theirs = loss_and_gradients(plain(Penalties(smoothing)), parts(), cpu)
    torch.testing.assert_close(loss_and_gradients(ours, parts(), cpu), theirs)


def test_a_target_that_is_all_but_impossible_costs_its_nats():
    """float32 has no probability below exp(-103)."""
    hidden, weight = torch.tensor([[1.0]]), torch.tensor([[0.0], [200.0]])
    loss = chunked.weighted_sum(hidden, weight, bias=None, targets=torch.tensor([0]), weights=torch.ones(1))
    assert loss == 200


def test_a_weighted_sum_is_descended_once():
    given = parts()
    given["hidden"].requires_grad_()
    loss = fused("chunked", Penalties())(given)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="descended once before"):
        loss.backward()


@pytest.mark.parametrize("kind", PACKAGES)
def test_a_kind_that_cannot_run_here_names_a_way_out(kind: str):
    if torch.cuda.is_available() or cuda_packages.installed("triton"):
        pytest.skip("it can")
    with pytest.raises(ValueError, match=rf"model.head.loss '{kind}' needs .* or use 'auto'"):
        fused(kind, Penalties())(parts())


class Largest(TorchDispatchMode):
    """Notes the most elements that any operation's result held."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple) else (result,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


@pytest.mark.parametrize("fused_loss", ["nats", "weighted_sum"])
def test_no_tensor_of_targets_by_words_is_ever_held(fused_loss: str):
    given = parts()
    hidden, weight = given["hidden"].requires_grad_(), given["weight"].requires_grad_()
    with Largest() as largest:
        if fused_loss == "nats":
            chunked.nats(hidden, weight, bias=None, targets=given["targets"]).sum().backward()
        else:
            fused("chunked", Penalties())(given).backward()
    assert largest.elements == chunked._CPU_ROWS * WORDS < TARGETS * WORDS
