"""Words for masked places: by a decoder that reads noise they are filled step by step, the most confident ones first.

The order is MaskGIT's (arXiv:2202.04200). Infilling starts from a partly masked row, generation from scratch from a
fully masked one; concepts say what it is about. The same generator state gives the same text.
"""

from typing import NamedTuple

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Generator, Tensor

from cogito_ray.base_spec import Spec
from cogito_ray.nn.model import ConceptModel
from cogito_ray.text.vocabulary_info import Vocabulary


class GenerationSpec(Spec):
    """How words are sampled."""

    steps: PositiveInt = 1
    """Passes of a decoder that reads noise; each fills an equal share of what is still masked."""
    temperature: NonNegativeFloat = 1.0
    """Divides the logits; 0 always takes the likeliest word."""
    top_k: PositiveInt | None = None
    """Only the k likeliest words are drawn; None = all."""
    candidates: PositiveInt = 1
    """How many of a place's likeliest words are told besides."""


class Filled(NamedTuple):
    """Rows without masks, and what might have stood there."""

    ids: Tensor
    """(B, N)"""
    candidates: Tensor
    """(B, N, k) likeliest words of each place that was masked, in the pass that filled it; 0 elsewhere."""
    probabilities: Tensor
    """(B, N, k) theirs, at temperature 1; 0 elsewhere."""


@torch.no_grad()
def infill(
    model: ConceptModel, ids: Tensor, *, vocabulary: Vocabulary, spec: GenerationSpec, generator: Generator
) -> Filled:
    """ids (B, N), mask_id where a word is wanted -> the same rows without masks. Concepts come from the other words.

    ValueError for a row without any other word, and for a model without a decoder.
    """
    positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    given = (ids != vocabulary.mask_id) & (ids != vocabulary.pad_id)
    if empty := int((~given.any(dim=1)).sum()):
        raise ValueError(f"{empty} rows give no word to encode; call `generate` with concepts of other text")
    concepts = model.encoder(ids, positions, given, model.document_starts(ids))
    return generate(model, concepts, ids, vocabulary=vocabulary, spec=spec, generator=generator)


@torch.no_grad()
def generate(
    model: ConceptModel,
    concepts: Tensor,
    ids: Tensor,
    *,
    vocabulary: Vocabulary,
    spec: GenerationSpec,
    generator: Generator,
) -> Filled:
    """concepts (B, C, D), ids (B, N) masked in part or whole -> the same rows without masks.

    ValueError for a model without a decoder, and for several steps where it does not see what they filled in.
    """
    if model.decoder is None or model.head is None:
        raise ValueError("this model has no decoder, so it predicts no words; train one with model.decoder")
    if spec.steps > 1 and not model.decoder.reads_noise:
        raise ValueError(
            f"steps is {spec.steps}, but this model's decoder answers the same in each; use steps 1, or a model with "
            "decoder 'denoising' or 'diffusion'"
        )
    positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    starts = model.document_starts(ids)
    real = (ids != vocabulary.pad_id).sum(dim=1).clamp_min(1)                  # (B,)
    best = torch.zeros(*ids.shape, min(spec.candidates, vocabulary.size))      # (B, N, k)
    told = Filled(ids, best.long().to(ids.device), best.to(ids.device))
    for left in range(spec.steps, 0, -1):
        masked = told.ids == vocabulary.mask_id                                # (B, N)
        noise = masked.sum(dim=1) / real
        logits = model.head.logits(model.decoder(concepts, positions, told.ids, noise, starts)).float() # (B, N, V)
        logits[..., list(vocabulary.special_ids)] = -torch.inf
        words, confidence = _sampled(logits, spec, generator)
        best_first = confidence.masked_fill(~masked, -1).argsort(dim=1, descending=True)
        rank = best_first.argsort(dim=1)                                       # inverse permutation: 0 = most confident
        count = masked.sum(dim=1, keepdim=True).add(left - 1).div(left, rounding_mode="floor")     # rounded up
        likeliest = logits.softmax(dim=-1).topk(best.shape[-1], dim=-1)
        new = masked & (rank < count)
        told = Filled(
            torch.where(new, words, told.ids),
            torch.where(new[..., None], likeliest.indices, told.candidates),
            torch.where(new[..., None], likeliest.values, told.probabilities),
        )
    return told


def _sampled(logits: Tensor, spec: GenerationSpec, generator: Generator) -> tuple[Tensor, Tensor]:
    """A word per position (B, N) and its probability (B, N)."""
    if spec.temperature == 0:
        confidence, words = logits.softmax(dim=-1).max(dim=-1)
        return words, confidence
    if spec.top_k is not None:
        least = logits.topk(min(spec.top_k, logits.shape[-1]), dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    chance = (logits / spec.temperature).softmax(dim=-1)                       # (B, N, V)
    words = torch.multinomial(chance.flatten(0, 1), 1, generator=generator).view(logits.shape[:-1])
    return words, chance.gather(-1, words[..., None]).squeeze(-1)
