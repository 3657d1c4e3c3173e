"""Masked language modelling (BERT, arXiv:1810.04805): mask some tokens, predict them from the rest."""

from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Generator, Tensor

from cogito_ray.base_spec import Spec
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.objectives.position_sampling import (
    counts_for,
    random_scores,
    slots_for,
    text_mask,
    top_positions,
    uniform,
)
from cogito_ray.text.vocabulary_info import Vocabulary

Rate = Annotated[float, Field(gt=0, lt=1)]
TargetRate = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class MlmSpec(Spec):
    """Masked tokens keep their position: the encoder reads a mask there, or for a share of them another token."""

    kind: Literal["mlm"] = "mlm"
    provides: ClassVar[frozenset[str]] = frozenset({"ids"})
    needs: ClassVar[frozenset[str]] = frozenset()
    respects_documents: ClassVar[bool] = True
    rate: Rate = 0.15
    """Share of each row's text tokens to predict, exactly (rounded half up)."""
    random_share: Share = 0.0
    """Share of the chosen tokens that the encoder sees as a random token instead of the mask (BERT: 0.1)."""
    kept_share: Share = 0.0
    """Share of the chosen tokens that the encoder sees unchanged (BERT: 0.1). The decoder still reads the mask."""

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        if (total := self.random_share + self.kept_share) > 1:
            raise ValueError(f"random_share + kept_share is {total:g}, more than the chosen tokens; lower one of them")
        return self

    def corrupt(self, ids: Tensor, vocabulary: Vocabulary, generator: Generator) -> View:
        """ids (B, N) clean -> view with K = N, M = rate of N."""
        text = text_mask(ids, vocabulary)
        counts, slots = counts_for(self.rate, text.sum(dim=1)), slots_for(self.rate, ids.shape[1])
        positions, used = top_positions(random_scores(text, generator), counts, slots)          # (B, M)
        shown = self._shown(ids.gather(1, positions), vocabulary, generator)
        return masked_view(ids, positions, used, vocabulary, shown)

    def _shown(self, targets: Tensor, vocabulary: Vocabulary, generator: Generator) -> Tensor:
        """(B, M): what the encoder sees in place of each target."""
        shape, device = tuple(targets.shape), targets.device
        random_ids = (uniform(shape, generator, device) * vocabulary.size).long().clamp_max(vocabulary.size - 1)
        random_ids = torch.where(text_mask(random_ids, vocabulary), random_ids, vocabulary.mask_id)
        chance = uniform(shape, generator, device)
        shown = torch.where(chance < self.random_share, random_ids, vocabulary.mask_id)
        return torch.where(chance >= 1 - self.kept_share, targets, shown)


def masked_view(ids: Tensor, positions: Tensor, used: Tensor, vocabulary: Vocabulary, shown: Tensor) -> View:
    """ids (B, N); positions, used, shown (B, M) -> the encoder reads `shown` there; the decoder reads the mask."""
    length = ids.shape[1]
    index = positions.masked_fill(~used, length)                                    # unused slots: a column cut off
    visible_ids = torch.cat([ids, ids[:, :1]], dim=1).scatter(1, index, shown)[:, :length]
    return View(
        visible_ids=visible_ids,
        visible_positions=torch.arange(length, device=ids.device).expand_as(ids),
        visible=visible_mask(ids, vocabulary),
        target_positions=positions,
        targets=ids.gather(1, positions),
        weights=used.float(),
        query_ids=torch.full_like(positions, vocabulary.mask_id),
    )


def visible_mask(ids: Tensor, vocabulary: Vocabulary) -> Tensor:
    """(B, N) bool: not padding. A row without any token shows its first, so that attention has something to read."""
    real = ids != vocabulary.pad_id
    first = torch.arange(ids.shape[1], device=ids.device) == 0                      # (N,)
    return real | (first & ~real.any(dim=1, keepdim=True))
