"""Masked diffusion (MDLM, arXiv:2406.07524): the encoder reads clean text, the decoder a text with a share t masked.

t is drawn per row. The loss bound weighs each masked token by 1/t; as exactly t of a row is masked, every row then
weighs what its text weighs. Unweighted, as MaskGIT (arXiv:2202.04200) is trained, rows weigh more the more is masked.
"""

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from cogito_ray.base_spec import Spec
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.objectives.position_sampling import (
    counts_for,
    random_scores,
    sample_targets,
    slots_for,
    text_mask,
    uniform,
)
from cogito_ray.objectives.token_masking import Rate, TargetRate, visible_mask
from cogito_ray.text.vocabulary_info import Vocabulary

Smoothing = Annotated[float, Field(ge=0, lt=1)]


class DiffusionSpec(Spec):
    """The decoder predicts masked tokens from the concepts of the clean text and the share t that is masked."""

    kind: Literal["diffusion"] = "diffusion"
    provides: ClassVar[frozenset[str]] = frozenset({"ids", "noise", "row"})
    needs: ClassVar[frozenset[str]] = frozenset()
    respects_documents: ClassVar[bool] = True
    t_min: Rate = 0.1
    """Smallest share of a row that is masked; bounds the weights."""
    weighted: bool = True
    """Masked tokens weigh 1/t, so that the loss bounds the likelihood of the text. false = all alike."""
    label_smoothing: Smoothing = 0.1
    """Share of each target's probability spread over the whole vocabulary."""
    target_rate: TargetRate = 0.5
    """Largest share of each row's text tokens scored in a step; where more are masked, a random part stands for all."""

    def corrupt(self, ids: Tensor, vocabulary: Vocabulary, generator: Generator) -> View:
        """ids (B, N) clean -> view with K = N, M = target_rate of N."""
        text = text_mask(ids, vocabulary)
        slots = slots_for(self.target_rate, ids.shape[1])
        masked, noise = noise_levels(text, self.t_min, generator)
        counts = masked.minimum(counts_for(self.target_rate, text.sum(dim=1)))
        scores = random_scores(text, generator)
        least = scores.sort(dim=1, descending=True).values.gather(1, (masked - 1).clamp_min(0)[:, None])
        positions, weights = sample_targets(text, counts, slots, scores)
        weights = weights if self.weighted else weights * noise[:, None]
        return View(
            visible_ids=ids,
            visible_positions=torch.arange(ids.shape[1], device=ids.device).expand_as(ids),
            visible=visible_mask(ids, vocabulary),
            target_positions=positions,
            targets=ids.gather(1, positions),
            weights=weights,
            query_ids=torch.full_like(positions, vocabulary.mask_id),
            noisy_ids=ids.masked_fill(text & (scores >= least), vocabulary.mask_id),
            noise=noise,
            label_smoothing=self.label_smoothing,
        )


def noise_levels(eligible: Tensor, t_min: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """eligible (B, N) -> how many of each row are masked (B,) int64, and the share that is (B,), from U(t_min, 1).

    The share is that of the rounded count, so that the decoder is told what is true of its row.
    """
    total = eligible.sum(dim=1)                                                     # (B,)
    t = t_min + (1 - t_min) * uniform((len(eligible),), generator, eligible.device)
    masked = counts_for(t, total)
    return masked, torch.where(total > 0, masked / total.clamp_min(1), 1.0)
