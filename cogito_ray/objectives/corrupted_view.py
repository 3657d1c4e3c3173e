"""One corrupted view of a batch: the contract between objectives, models and losses.

Objectives only build views; models only read them. K visible tokens and M targets a row are fixed by the objective's
rates, so shapes are static; a short row's surplus is padding (visible) or has weight 0 (targets).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class View:
    """What the encoder reads, what the decoder may read, and what must be predicted, for B rows."""

    visible_ids: Tensor
    """(B, K) tokens the encoder reads; deleted tokens are absent, not masked."""
    visible_positions: Tensor
    """(B, K) where in the row each visible token stands."""
    visible: Tensor
    """(B, K) bool, False = padding the encoder must not read. At least one is True in every row."""
    target_positions: Tensor
    """(B, M) where in the row each target stands."""
    targets: Tensor
    """(B, M) clean token to predict."""
    weights: Tensor
    """(B, M) float, weight of each target in the loss; 0 = surplus."""
    query_ids: Tensor | None = None
    """(B, M) corrupted token at each target's place, for decoders that read tokens."""
    noisy_ids: Tensor | None = None
    """(B, N) the whole row, of which the share `noise` is masked, for decoders that read rows; diffusion only."""
    noise: Tensor | None = None
    """(B,) fraction of the row that is masked, in (0, 1]; diffusion only."""
    starts: Tensor | None = None
    """(B, N) where in the row the document at each place begins, for models that read documents one by one; None = rows
    are read whole. Objectives leave it out (see `RunSpec.views`)."""
    label_smoothing: float = 0.0
    """Share of each target's probability spread over the whole vocabulary."""
    all_visible: bool = False
    """Whether `visible` is known, on the host, to be True everywhere."""

    @property
    def mask(self) -> Tensor | None:
        """`visible` as attention takes it; None where nothing is hidden, for kernels that know no mask (flash)."""
        return None if self.all_visible else self.visible

    def queries(self, *, whole: bool) -> Tensor | None:
        """What a decoder is given of words: the `whole` row, or those at the targets' places."""
        return self.noisy_ids if whole else self.query_ids

    def on_host(self) -> "View":
        """The same view, made on the host, which knows whether all is visible; of a device that would mean to wait."""
        return replace(self, all_visible=self.visible.is_cpu and bool(self.visible.all()))

    def to(self, device: torch.device) -> "View":
        """The same view with every tensor on `device`; nobody waits for the copies of a view that is pinned."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> "View":
        """The same view in memory that a device copies from by itself."""
        return self._each(lambda tensor: tensor.contiguous().pin_memory())     # what is expanded cannot be pinned

    def _each(self, change: Callable[[Tensor], Tensor]) -> "View":
        changed: dict[str, Any] = {
            field.name: change(value) if isinstance(value := getattr(self, field.name), Tensor) else value
            for field in fields(self)
        }
        return View(**changed)
