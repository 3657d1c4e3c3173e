"""Model FLOPs utilisation (MFU, arXiv:2204.02311): the FLOPs that a step needs over those that its devices could do.

A step needs three times those of its forward pass, for backward makes two products of each; what is computed again, to
save memory, is no more work. A forward pass is counted by torch's formulas for matrix products and attention. What a
device could do is measured: square random matrices in the precision of the run, once a process. (An H200 multiplies
matrices of ones 18 % faster.)
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count, shape_wrapper

from cogito_ray.losses.total_loss import TotalLoss
from cogito_ray.nn.model import ConceptModel
from cogito_ray.nn.vocabulary_loss import chunked
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.run_spec import RunSpec
from cogito_ray.text.vocabulary_info import Vocabulary

_ROWS = 2
"""Contrast needs two."""
_SIDE = {"cpu": 1024, "cuda": 8192}
_MEASURED_S = 0.2
_COUNTED: dict[tuple[str, int, int, type], float] = {}


def step_flops(run: RunSpec, total: TotalLoss, vocabulary: Vocabulary) -> float:
    """Of one row in training: shapes are followed through model and losses, and nothing is computed. Counted once a
    process for equal settings, as trials follow each other in one."""
    settings = run.model_dump_json(include={"model", "loss", "objective"})
    key = settings, run.data.length, vocabulary.size, type(total.model.decoder)
    if key not in _COUNTED:
        _COUNTED[key] = _counted(run, total, vocabulary)
    return _COUNTED[key]


def _counted(run: RunSpec, total: TotalLoss, vocabulary: Vocabulary) -> float:
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary.size, (_ROWS, run.data.length), generator=draw)
    views = run.views(ids, vocabulary, draw)
    with _in_plain_torch(total.model):
        try:
            forward = _forward_flops(total, views, FakeTensorMode(allow_non_fake_inputs=True))
        except (DataDependentOutputException, DynamicOutputShapeException):      # a plugin's kind that looks at values
            forward = _forward_flops(total, views, nullcontext())
    return 3 * forward / _ROWS


@contextmanager
def _in_plain_torch(model: ConceptModel) -> Iterator[None]:
    """The same products, where there is no device for the kernels of the head's loss."""
    head = model.head
    if head is None:
        yield
        return
    chosen, head.weighted_sum = head.weighted_sum, chunked.weighted_sum
    try:
        yield
    finally:
        head.weighted_sum = chosen


def _forward_flops(total: TotalLoss, views: tuple[View, View | None], tensors: AbstractContextManager[Any]) -> int:
    eager = torch.compiler.set_stance("force_eager")
    with torch.no_grad(), torch.random.fork_rng(devices=[]), eager, tensors, _FlopCounter() as counter:  # type: ignore[no-untyped-call]
        total(*views)
    flops: int = counter.flops
    return flops


def _product_added(total: torch.Size, left: torch.Size, right: torch.Size, **_: Any) -> int:
    return 2 * left[0] * left[1] * right[1]


def _attention(query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _attention_backward(gradient: torch.Size, *projected: Any, **_: Any) -> int:
    return 2 * int(sdpa_flop_count(*projected[:3]))


_ATEN = torch.ops.aten
FORMULAS = {
    _ATEN.addmm_: _product_added,
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _attention,
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
"""What torch has no formulas for, as FlopCounterMode's `custom_mapping`: FLOPs by the shapes of arguments."""


class _FlopCounter(TorchDispatchMode):
    """Adds up formulas. (Torch's own counter asks for the gradient functions of modules, of which there are none.)"""

    flops = 0
    formulas = flop_registry | {operation: shape_wrapper(formula) for operation, formula in FORMULAS.items()}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if formula := self.formulas.get(func._overloadpacket):
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        return result


def matmul_rate(device: torch.device, precision: str) -> float:
    """FLOP/s of a device in a precision, as torch names it, with TF32 where that is allowed by now: of the product of
    two large square matrices, the best of those that 0.2 seconds hold."""
    return _measured_rate(device, precision, torch.get_float32_matmul_precision())


@cache
def _measured_rate(device: torch.device, precision: str, float32: str) -> float:
    side = _SIDE.get(device.type, _SIDE["cpu"])
    draw = torch.Generator(device).manual_seed(0)
    square = torch.randn(side, side, generator=draw, device=device, dtype=getattr(torch, precision))
    product_s(square)
    best, until = product_s(square), time.perf_counter() + _MEASURED_S
    while time.perf_counter() < until:
        best = min(best, product_s(square))
    return 2 * side**3 / best


def product_s(square: Tensor) -> float:
    """Seconds of the product of a square matrix with itself. On a CPU, of each of its threads: time that others took is
    none that it needs."""
    began = time.process_time() if square.is_cpu else time.perf_counter()
    product = square @ square
    product[0, 0].item()                                    # waits for the device
    if square.is_cpu:
        return (time.process_time() - began) / torch.get_num_threads()
    return time.perf_counter() - began
