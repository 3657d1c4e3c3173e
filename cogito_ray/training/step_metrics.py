"""What happened between two reports, read once: no host synchronisation inside a step."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class StepMetrics:
    """Sums losses on their device and seconds on the host; `read` turns them into metrics."""

    def __init__(self, tokens_per_step: int):
        self.tokens_per_step = tokens_per_step
        self._norm = torch.zeros(())
        self._micro_batches = self._steps = 0
        self.restart()

    def add_losses(self, total: Tensor, terms: dict[str, Tensor]) -> None:
        """One micro-batch's detached scalars."""
        self._micro_batches += 1
        for name, value in {"total": total, **terms}.items():
            self._losses[name] = self._losses.get(name, 0) + value.detach()

    def add_step(self, gradient_norm: Tensor) -> None:
        """One optimizer step with the norm of its whole gradient before clipping."""
        self._steps += 1
        self._norm = torch.maximum(self._norm.to(gradient_norm.device), gradient_norm.detach())

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time spent here is waiting for data."""
        began = time.perf_counter()
        yield
        self._waited += time.perf_counter() - began

    def read(self) -> dict[str, float]:
        """The largest gradient norm, and speed, since the last restart."""
        norm = float(self._norm)                                # waits for the device, so the clock below is honest
        seconds = time.perf_counter() - self._began
        return {
            "optimizer/gradient_norm": norm,
            "time/tokens_per_s": self._steps * self.tokens_per_step / seconds,
            "time/data_wait_share": self._waited / seconds,
        }

    def losses(self) -> dict[str, float]:
        """Means since the last restart of this worker's losses in nats; the mean over workers is that of all rows."""
        return {f"loss/{name}": float(value) / self._micro_batches for name, value in self._losses.items()}

    def restart(self) -> None:
        """Start a new interval: what evaluation took does not count as training."""
        self._losses: dict[str, Tensor | float] = {}
        self._norm = torch.zeros(())
        self._micro_batches, self._steps, self._waited = 0, 0, 0.0
        self._began = time.perf_counter()
