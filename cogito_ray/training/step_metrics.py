"""What happened between two reports, read once: no host synchronisation inside a step."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

STEP_SQUARE, PASS_SQUARE = "gradient/step_square", "gradient/pass_square"


def noise_scale(step_square: float, pass_square: float, *, step_rows: int, pass_rows: int) -> float:
    """The gradient-noise scale, in rows: the variance of a row's gradient over the square of the mean gradient
    (arXiv:1812.06162, appendix A.1), from mean squared norms of gradients over so many rows.

    The squared norm of a mean over B rows is |G|^2 + noise / B in expectation; two numbers of rows tell the two apart.
    NaN where |G|^2 comes out as nothing, for its estimate may be below 0.
    """
    signal = (step_rows * step_square - pass_rows * pass_square) / (step_rows - pass_rows)
    noise = (pass_square - step_square) / (1 / pass_rows - 1 / step_rows)
    return max(noise, 0.0) / signal if signal > 0 else math.nan


class StepMetrics:
    """Sums losses on their device and seconds on the host; `read` turns them into metrics."""

    def __init__(self, tokens_per_step: int, ideal_step_s: float):
        """ideal_step_s: what a step would take if this worker's device did nothing but the products that it needs."""
        self.tokens_per_step, self.ideal_step_s = tokens_per_step, ideal_step_s
        self._names: tuple[str, ...] = ()
        self._passes: list[Tensor] = []
        self._sums: Tensor | None = None
        self._norm: Tensor | None = None
        self._steps = 0
        self.restart()

    def add_losses(self, total: Tensor, terms: dict[str, Tensor]) -> None:
        """One micro-batch's scalars."""
        self._names = ("total", *terms)
        self._passes.append(torch.stack([total.detach(), *terms.values()]))

    def add_step(self, gradient_norm: Tensor, pass_norm: Tensor | None = None) -> None:
        """The optimizer step of the micro-batches before, with the norm of its whole gradient before clipping and that
        of its first micro-batch's own gradient. It counts for nothing where the gradient is not finite, as such steps
        are skipped."""
        norm, self._steps = gradient_norm.detach(), self._steps + 1
        squares = torch.stack([norm, norm if pass_norm is None else pass_norm]).square()
        means = torch.stack(self._passes).mean(dim=0)
        step = torch.cat([means, squares, torch.ones(1, device=norm.device)]).where(norm.isfinite(), 0.0)
        self._sums = step if self._sums is None else self._sums + step
        self._norm = norm.where(norm.isfinite(), 0.0).maximum(norm.new_zeros(()) if self._norm is None else self._norm)
        self._passes = []

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time spent here is waiting for data."""
        began = time.perf_counter()
        yield
        self._waited += time.perf_counter() - began

    def read(self) -> dict[str, float]:
        """The largest gradient norm, the share of steps that were skipped, and speed, since the last restart."""
        assert self._norm is not None
        assert self._sums is not None
        norm = float(self._norm)                                # waits for the device, so the clock below is honest
        seconds = time.perf_counter() - self._began
        return {
            "optimizer/gradient_norm": norm,
            "optimizer/skipped_share": 1 - float(self._sums[-1]) / self._steps,
            "time/tokens_per_s": self._steps * self.tokens_per_step / seconds,
            "time/mfu": self._steps * self.ideal_step_s / seconds,
            "time/data_wait_share": self._waited / seconds,
        }

    def losses(self) -> dict[str, float]:
        """Means since the last restart of this worker's losses in nats, and of the squared norms of a step's gradient
        and of a micro-batch's; NaN where all steps were skipped. The mean over workers is that of all rows."""
        assert self._sums is not None
        *sums, kept = self._sums.tolist()
        names = [*(f"loss/{name}" for name in self._names), STEP_SQUARE, PASS_SQUARE]
        return {name: value / kept if kept else math.nan for name, value in zip(names, sums, strict=True)}

    def restart(self) -> None:
        """Start a new interval: what evaluation took does not count as training."""
        self._passes, self._sums, self._norm = [], None, None
        self._steps, self._waited = 0, 0.0
        self._began = time.perf_counter()
