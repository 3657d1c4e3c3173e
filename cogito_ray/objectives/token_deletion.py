"""TSDAE (arXiv:2104.06979): delete most tokens, rebuild all of them from the concepts.

Separators between packed documents are neither predicted nor, as long as they fit among the survivors, deleted: they
tell the encoder where texts end. A row always keeps at least one text token.
"""

from typing import ClassVar, Literal

from torch import Generator, Tensor

from cogito_ray.base_spec import Spec
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.objectives.position_sampling import (
    counts_for,
    random_scores,
    sample_targets,
    slots_for,
    text_mask,
    top_positions,
    uniform,
)
from cogito_ray.objectives.token_masking import Rate, TargetRate
from cogito_ray.text.vocabulary_info import Vocabulary


class TsdaeSpec(Spec):
    """Deletion noise at 0.6, which TSDAE found best; but the decoder reads concepts, not one sentence vector."""

    kind: Literal["tsdae"] = "tsdae"
    provides: ClassVar[frozenset[str]] = frozenset()
    needs: ClassVar[frozenset[str]] = frozenset()
    respects_documents: ClassVar[bool] = True
    rate: Rate = 0.6
    """Share of each row's tokens that is deleted, exactly (the survivors are rounded half up)."""
    target_rate: TargetRate = 0.5
    """Share of each row's text tokens scored in a step; the loss is an unbiased estimate of scoring all of them."""

    def corrupt(self, ids: Tensor, vocabulary: Vocabulary, generator: Generator) -> View:
        """ids (B, N) clean -> view with K = (1 - rate) of N, M = target_rate of N."""
        text, real = text_mask(ids, vocabulary), ids != vocabulary.pad_id
        positions, used = self._survivors(text, real, generator)
        counts, slots = counts_for(self.target_rate, text.sum(dim=1)), slots_for(self.target_rate, ids.shape[1])
        targets, weights = sample_targets(text, counts, slots, random_scores(text, generator))
        return View(
            visible_ids=ids.gather(1, positions).masked_fill(~used, vocabulary.pad_id),
            visible_positions=positions,
            visible=used,
            target_positions=targets,
            targets=ids.gather(1, targets),
            weights=weights,
        )

    def _survivors(self, text: Tensor, real: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """text, real (B, N) -> positions (B, K) of the survivors in order, and which of the K slots are used.

        The highest scores survive: one text token in [2, 3), separators in [1, 2), other text in [0, 1), padding -1.
        """
        scores = uniform(tuple(text.shape), generator, text.device).masked_fill(~real, -1.0)
        scores = scores + (real & ~text)
        first = scores.masked_fill(~text, -1.0).argmax(dim=1, keepdim=True)
        scores = scores.scatter_add(1, first, 2.0 * text.gather(1, first))
        slots = slots_for(1 - self.rate, text.shape[1])
        counts = counts_for(1 - self.rate, real.sum(dim=1)).clamp_min(1)             # an empty row shows one padding
        return top_positions(scores, counts, slots)
