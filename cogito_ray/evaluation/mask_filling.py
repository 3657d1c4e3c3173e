"""Texts with blanks in, words out: what a decoder writes where a text says [MASK]."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from cogito_ray.evaluation.sentence_encoder import SentenceEncoder
from cogito_ray.nn.generation import GenerationSpec, generate, infill
from cogito_ray.nn.model import ConceptModel

BLANK = "[MASK]"


@dataclass(frozen=True)
class FilledText:
    """A text without blanks."""

    text: str
    blanks: tuple[tuple[tuple[str, float], ...], ...]
    """Of each blank the likeliest words with their probabilities, when it was filled."""


def fill(
    encoder: SentenceEncoder, text: str, spec: GenerationSpec, *, like: str | None = None, seed: int = 0
) -> FilledText:
    """`text` with words for each [MASK] in it. Concepts come from its other words, or from `like`.

    ValueError where there is no blank, no word to encode, more than the model reads, or no decoder that can do it.
    """
    model, words = encoder.model, encoder.tokenizer.vocabulary
    if not isinstance(model, ConceptModel):
        raise ValueError("is no concept encoder of ours; fill takes runs, exports and checkpoints of ours")
    ids, generator = _row(encoder, text), Generator().manual_seed(seed)
    if like is None:
        if not (ids != words.mask_id).any():
            raise ValueError("gives no word to encode; write some beside the blanks, or give another text: --like TEXT")
        filled = infill(model, ids, vocabulary=words, spec=spec, generator=generator)
    else:
        read = encoder.ids([like])                                             # (1, K)
        with torch.no_grad():
            concepts = model.encoder(read, torch.arange(read.shape[1])[None], None, model.document_starts(read))
        filled = generate(model, concepts, ids, vocabulary=words, spec=spec, generator=generator)
    blanks, told = (ids[0] == words.mask_id).nonzero()[:, 0].tolist(), text
    for place in blanks:
        told = told.replace(BLANK, _word(encoder, int(filled.ids[0, place])), 1)
    return FilledText(told, tuple(
        tuple((_word(encoder, int(word)), float(chance)) for word, chance in
              zip(filled.candidates[0, place], filled.probabilities[0, place], strict=True))
        for place in blanks
    ))  # fmt: skip


def _row(encoder: SentenceEncoder, text: str) -> Tensor:
    """(1, N) ids of a text, the mask's at each blank. Spaces before a blank belong to its word."""
    first, *others = text.split(BLANK)
    if not others:
        raise ValueError(f"{text!r} has no blank; write {BLANK} where a word is wanted")
    parts = encoder.tokenizer.encode([*(part.rstrip() for part in [first, *others][:-1]), others[-1]])
    blank = np.array([encoder.tokenizer.vocabulary.mask_id])
    ids = np.concatenate([parts[0], *(piece for part in parts[1:] for piece in (blank, part))]).astype(np.int64)
    if len(ids) > encoder.length:
        raise ValueError(f"{text[:40]!r} has {len(ids)} tokens, but this model reads {encoder.length}; shorten it")
    return torch.from_numpy(ids)[None]


def _word(encoder: SentenceEncoder, token: int) -> str:
    return encoder.tokenizer.tokenizer.decode([token]).strip()
