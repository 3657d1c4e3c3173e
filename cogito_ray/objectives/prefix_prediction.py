"""Prefix: the encoder reads the first part of a row, the decoder predicts the rest, at once or by masked diffusion
(PrefixLM, arXiv:1910.10683, section 3.2, but without a causal decoder)."""

from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Generator, Tensor

from cogito_ray.base_spec import Spec
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.objectives.masked_diffusion import Smoothing, noise_levels
from cogito_ray.objectives.position_sampling import (
    counts_for,
    random_scores,
    sample_targets,
    slots_for,
    text_mask,
    uniform,
)
from cogito_ray.objectives.token_masking import Rate, TargetRate
from cogito_ray.text.vocabulary_info import Vocabulary


class PrefixSpec(Spec):
    """What concepts hold must tell how a text goes on, which is more than what it says."""

    kind: Literal["prefix"] = "prefix"
    provides: ClassVar[frozenset[str]] = frozenset({"ids", "noise"})
    needs: ClassVar[frozenset[str]] = frozenset()
    respects_documents: ClassVar[bool] = False
    shortest: Rate = 0.3
    """Smallest share of a row that the encoder reads."""
    longest: Rate = 0.5
    """Largest share of a row that the encoder reads; drawn evenly between the two."""
    t_min: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Mask a share of the rest drawn from U(t_min, 1), as diffusion does; None = all of it, noise 1."""
    label_smoothing: Smoothing = 0.0
    """Share of each target's probability spread over the whole vocabulary."""
    target_rate: TargetRate = 0.5
    """Largest share of the rest's text tokens scored in a step; a random part stands for all that is masked."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.shortest > self.longest:
            raise ValueError(f"shortest {self.shortest:g} is more than longest {self.longest:g}; swap them")
        return self

    def corrupt(self, ids: Tensor, vocabulary: Vocabulary, generator: Generator) -> View:
        """ids (B, N) clean, padding last -> view with K = longest of N, M = target_rate of the longest rest."""
        length, width = ids.shape[1], slots_for(self.longest, ids.shape[1])
        at = torch.arange(length, device=ids.device).expand_as(ids)             # (B, N)
        cut = self._cut(ids != vocabulary.pad_id, generator)                        # (B, 1)
        rest = text_mask(ids, vocabulary) & (at >= cut)
        masked, noise = self._noise(rest, generator)
        counts = masked.minimum(counts_for(self.target_rate, rest.sum(dim=1)))
        slots = slots_for(self.target_rate, length - slots_for(self.shortest, length))
        positions, weights = sample_targets(rest, counts, slots, random_scores(rest, generator))
        seen = (at < cut)[:, :width]
        return View(
            visible_ids=ids[:, :width].masked_fill(~seen, vocabulary.pad_id),
            visible_positions=at[:, :width],
            visible=seen,
            target_positions=positions,
            targets=ids.gather(1, positions),
            weights=weights,
            query_ids=torch.full_like(positions, vocabulary.mask_id),
            noise=noise,
            label_smoothing=self.label_smoothing,
        )

    def _cut(self, real: Tensor, generator: Generator) -> Tensor:
        """real (B, N) -> (B, 1) where the rest begins; at least 1, so that the encoder has something to read."""
        share = self.shortest + (self.longest - self.shortest) * uniform((len(real),), generator, real.device)
        return counts_for(share, real.sum(dim=1)).clamp_min(1)[:, None]

    def _noise(self, rest: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        if self.t_min is None:
            return rest.sum(dim=1), torch.ones(len(rest), device=rest.device)
        return noise_levels(rest, self.t_min, generator)
