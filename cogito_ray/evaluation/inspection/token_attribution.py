"""Token attribution by attention: which tokens the concepts of a trained encoder attend to, over texts, with examples.

Attention weights are no proof of influence (arXiv:1902.10186): they tell where concepts look.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cogito_ray.analysis import attention_statistics
from cogito_ray.analysis.analysis_result import AttentionExample, AttentionMap, ConceptAttention
from cogito_ray.evaluation.frozen_concepts import ROWS_AT_ONCE
from cogito_ray.evaluation.inspection.parts_of_speech import INSTALLED, PARTS, parts_of_speech
from cogito_ray.nn.attention import places_of, same
from cogito_ray.nn.model import ConceptModel
from cogito_ray.nn.token_stages.token_stage_interface import Tokens
from cogito_ray.text.tokenizer import TextTokenizer

KINDS = ("special", "punctuation", "number", "within a word", "common word", "rare word")
COMMON = 100
"""Tokens that count as common words: the most frequent ones of the texts at hand."""
MARKS = ("Ġ", "▁")
"""What tokenizers write before a token that starts a word; WordPiece marks the others by ## instead."""
TOP_TOKENS, EXAMPLES, NEIGHBOURS = 6, 3, 5


@dataclass(frozen=True)
class TokenAttribution:
    """weights (R, C, K): how much of each token each concept reads, mean over heads and blocks, 0 at padding."""

    ids: Tensor
    """(R, K)"""
    visible: Tensor
    """(R, K) bool"""
    weights: Tensor
    tokenizer: TextTokenizer
    read_by: Tensor
    """(R, C or 1, K) bool: what each concept may read."""

    def concept_attention(self) -> list[ConceptAttention]:
        """Every concept by what it reads."""
        weights, visible, read_by = self.weights, self.visible, self.read_by
        kinds, names = self._kinds(), [*KINDS]
        lifts = attention_statistics.lifts(weights, read_by, kinds, len(KINDS))
        if INSTALLED:
            of_parts = attention_statistics.lifts(weights, read_by, self._parts(kinds), len(PARTS))
            lifts, names = torch.cat([lifts, of_parts[:, :-1]], dim=1), [*KINDS, *PARTS[:-1]]
        centres, deviations = attention_statistics.centres_and_deviations(weights, visible)
        columns = zip(
            attention_statistics.entropies(weights, read_by).tolist(),
            centres.tolist(),
            deviations.tolist(),
            attention_statistics.position_bias(weights, visible).tolist(),
            lifts.tolist(),
            attention_statistics.top_tokens(weights, read_by, self.ids, TOP_TOKENS),
            attention_statistics.peaks(weights, EXAMPLES),
            strict=True,
        )
        return [
            ConceptAttention(
                number,
                entropy=entropy,
                centre=centre,
                std=deviation,
                position_bias=bias,
                kinds={kind: value for kind, value in zip(names, lift, strict=True) if value == value},     # not NaN
                top_tokens=[self._text([token]) for token in top_tokens],
                examples=[self._example(peak) for peak in peaks],
            )
            for number, (entropy, centre, deviation, bias, lift, top_tokens, peaks) in enumerate(columns)
        ]

    def positions(self) -> list[list[float]]:
        """(C, P) what is read where, mean over texts."""
        weights = attention_statistics.by_position(self.weights, self.visible).mean(dim=0)
        return [[float(share) for share in row] for row in weights]

    def attention_map(self, row: int) -> AttentionMap:
        """What is read of one text."""
        there = self.visible[row]
        tokens = [self._text([token]) for token in self.ids[row][there].tolist()]
        return AttentionMap(tokens, self.weights[row][:, there].tolist())

    def _example(self, peak: attention_statistics.Peak) -> AttentionExample:
        ids, count = self.ids[peak.row].tolist(), int(self.visible[peak.row].sum())
        start, end = max(0, peak.position - NEIGHBOURS), min(count, peak.position + NEIGHBOURS + 1)
        before, after = ids[start : peak.position], ids[peak.position + 1 : end]
        token = ids[peak.position : peak.position + 1]
        return AttentionExample(self._text(before), self._text(token), self._text(after), peak.share)

    def _text(self, ids: list[int]) -> str:
        return self.tokenizer.tokenizer.decode(ids, skip_special_tokens=False)

    def _parts(self, kinds: Tensor) -> Tensor:
        """(R, K) the number of each token's part of speech."""
        begins, goes_on = kinds >= KINDS.index("common word"), kinds == KINDS.index("within a word")
        rows = zip(self.ids.tolist(), begins.tolist(), goes_on.tolist(), strict=True)
        return torch.tensor([
            parts_of_speech([self._text([token]) for token in ids], first, more) for ids, first, more in rows
        ])  # fmt: skip

    def _kinds(self) -> Tensor:
        """(R, K) the number of each token's kind."""
        names, index, counts = self.ids.unique(return_inverse=True, return_counts=True)
        table = self.tokenizer.tokenizer
        marked = any(token.startswith(MARKS) for token in table.get_vocab())
        special, spelled = set(self.tokenizer.vocabulary.special_ids), table.id_to_token
        kinds_of_tokens = [_kind(spelled(token) or "", self._text([token]), marked) for token in names.tolist()]
        kinds = torch.tensor([
            KINDS.index("special") if token in special else kind
            for token, kind in zip(names.tolist(), kinds_of_tokens, strict=True)
        ])  # fmt: skip
        words = (kinds == KINDS.index("rare word")).nonzero().flatten()
        kinds[words[counts[words].argsort(descending=True)[:COMMON]]] = KINDS.index("common word")
        return kinds[index]


def _kind(token: str, text: str, marked: bool) -> int:
    """Of a token that is written `token` in the vocabulary and reads as `text`; every word is rare here."""
    if not any(letter.isalnum() for letter in text):
        return KINDS.index("punctuation")
    if any(letter.isdigit() for letter in text):
        return KINDS.index("number")
    starts = token.startswith(MARKS) if marked else not token.startswith("##")
    return KINDS.index("rare word" if starts else "within a word")


@torch.no_grad()
def token_attribution(model: ConceptModel, ids: Tensor, tokenizer: TextTokenizer) -> TokenAttribution:
    """ids (R, K) of texts that each hold a token. Where a token stage pools, a pooled token's share is divided among
    those it stands for."""
    device, pad_id = next(model.parameters()).device, tokenizer.vocabulary.pad_id
    positions, weights, read_by = torch.arange(ids.shape[1], device=device), [], []
    for part in ids.split(ROWS_AT_ONCE):
        seen = part.to(device)
        visible, starts = seen != pad_id, model.document_starts(seen)       # (B, K)
        tokens, read = model.encoder.attention_weights(seen, positions.expand_as(seen), visible, starts)
        mean = torch.stack([block.float().mean(dim=1) for block in read]).mean(dim=0)                       # (B, C, K')
        weights.append(_divided(mean, tokens, visible, starts).cpu())
        read_by.append(_read_by(model, visible, starts).cpu())
    return TokenAttribution(ids, ids != pad_id, torch.cat(weights), tokenizer, torch.cat(read_by))


def _read_by(model: ConceptModel, visible: Tensor, starts: Tensor | None) -> Tensor:
    """(B, C or 1, K) which tokens each concept may read."""
    centres = model.encoder.latents.centres
    if starts is None or centres is None:
        return visible[:, None]
    return same(places_of(starts, centres), starts) & visible[:, None]


def _divided(weights: Tensor, read: Tokens, visible: Tensor, starts: Tensor | None) -> Tensor:
    """weights (B, C, K') of the tokens that were read -> (B, C, K) of the tokens that these stand for: the nearest ones
    of the same document."""
    if weights.shape[-1] == visible.shape[1]:
        return weights
    assert read.visible is not None
    may, places = read.visible[:, None], read.positions                     # (B, 1, K'), (B, K')
    if starts is not None and read.starts is not None:
        may, places = may & same(starts, read.starts), places + read.starts                    # (B, K, K')
    here = torch.arange(visible.shape[1], device=visible.device)
    away = (here[:, None] - places[:, None]).abs().masked_fill(~may, torch.inf)
    distance, nearest = away.min(dim=-1)                                    # (B, K)
    stands_for = (visible & distance.isfinite()).to(weights.dtype)          # (B, K)
    members = torch.zeros_like(weights[:, 0]).scatter_add_(1, nearest, stands_for)             # (B, K')
    each = stands_for / members.gather(1, nearest).clamp_min(1)             # (B, K)
    return weights.gather(2, nearest[:, None].expand(-1, weights.shape[1], -1)) * each[:, None]
