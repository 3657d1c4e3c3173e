"""Which tokens a trained encoder's concepts read: measured over texts, with examples in words."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cogito_ray.analysis import attention_statistics
from cogito_ray.analysis.analysis_result import Affinity, Example, Reader
from cogito_ray.evaluation.frozen_concepts import ROWS_AT_ONCE
from cogito_ray.nn.model import ConceptModel
from cogito_ray.nn.token_stages.base import Tokens
from cogito_ray.text.tokenizer import TextTokenizer

KINDS = ("special", "punctuation", "number", "within a word", "common word", "rare word")
COMMON = 100
"""Tokens that count as common words: the most frequent ones of the texts at hand."""
MARKS = ("Ġ", "▁")
"""What tokenizers write before a token that starts a word; WordPiece marks the others by ## instead."""
FAVOURITES, EXAMPLES, AROUND = 6, 3, 5


@dataclass(frozen=True)
class Readings:
    """shares (R, C, K): how much of each token each concept reads, mean over heads and blocks, 0 at padding."""

    ids: Tensor
    """(R, K)"""
    visible: Tensor
    """(R, K) bool"""
    shares: Tensor
    tokenizer: TextTokenizer

    def readers(self) -> list[Reader]:
        """Every concept by what it reads."""
        shares, visible = self.shares, self.visible
        lifts = attention_statistics.lifts(shares, visible, self._kinds(), len(KINDS))
        centres, spreads = attention_statistics.centres(shares, visible)
        columns = zip(
            attention_statistics.entropies(shares, visible).tolist(),
            centres.tolist(),
            spreads.tolist(),
            attention_statistics.place_bias(shares, visible).tolist(),
            lifts.tolist(),
            attention_statistics.favourites(shares, visible, self.ids, FAVOURITES),
            attention_statistics.peaks(shares, EXAMPLES),
            strict=True,
        )
        return [
            Reader(
                number,
                entropy=entropy,
                centre=centre,
                spread=spread,
                place_bias=bias,
                kinds={kind: value for kind, value in zip(KINDS, lift, strict=True) if value == value},     # not NaN
                favourites=[self._text([token]) for token in favourites],
                examples=[self._example(peak) for peak in peaks],
            )
            for number, (entropy, centre, spread, bias, lift, favourites, peaks) in enumerate(columns)
        ]

    def places(self) -> list[list[float]]:
        """(C, P) what is read where, mean over texts."""
        shares = attention_statistics.by_place(self.shares, self.visible).mean(dim=0)
        return [[float(share) for share in row] for row in shares]

    def affinity(self, row: int) -> Affinity:
        """What is read of one text."""
        there = self.visible[row]
        tokens = [self._text([token]) for token in self.ids[row][there].tolist()]
        return Affinity(tokens, self.shares[row][:, there].tolist())

    def _example(self, peak: attention_statistics.Peak) -> Example:
        ids, count = self.ids[peak.row].tolist(), int(self.visible[peak.row].sum())
        start, end = max(0, peak.place - AROUND), min(count, peak.place + AROUND + 1)
        before, after = ids[start : peak.place], ids[peak.place + 1 : end]
        return Example(self._text(before), self._text(ids[peak.place : peak.place + 1]), self._text(after), peak.share)

    def _text(self, ids: list[int]) -> str:
        return self.tokenizer.tokenizer.decode(ids, skip_special_tokens=False)

    def _kinds(self) -> Tensor:
        """(R, K) the number of each token's kind."""
        names, index, counts = self.ids.unique(return_inverse=True, return_counts=True)
        table = self.tokenizer.tokenizer
        marked = any(token.startswith(MARKS) for token in table.get_vocab())
        special, spelled = set(self.tokenizer.vocabulary.special_ids), table.id_to_token
        told = [_kind(spelled(token) or "", self._text([token]), marked) for token in names.tolist()]
        kinds = torch.tensor([
            KINDS.index("special") if token in special else kind
            for token, kind in zip(names.tolist(), told, strict=True)
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
def readings(model: ConceptModel, ids: Tensor, tokenizer: TextTokenizer) -> Readings:
    """ids (R, K) of texts that each hold a token. Where a token stage pools, a pooled token's share is divided among
    those it stands for."""
    device, pad_id = next(model.parameters()).device, tokenizer.vocabulary.pad_id
    positions, shares = torch.arange(ids.shape[1], device=device), []
    for part in ids.split(ROWS_AT_ONCE):
        seen = part.to(device)
        visible = seen != pad_id                                            # (B, K)
        tokens, read = model.encoder.attention_weights(seen, positions.expand_as(seen), visible)
        mean = torch.stack([block.float().mean(dim=1) for block in read]).mean(dim=0)                       # (B, C, K')
        shares.append(_divided(mean, tokens, visible).cpu())
    return Readings(ids, ids != pad_id, torch.cat(shares), tokenizer)


def _divided(shares: Tensor, read: Tokens, visible: Tensor) -> Tensor:
    """shares (B, C, K') of the tokens that were read -> (B, C, K) of the tokens that these stand for."""
    if shares.shape[-1] == visible.shape[1]:
        return shares
    here = torch.arange(visible.shape[1], device=visible.device)
    away = (here[:, None] - read.positions[:, None]).abs().masked_fill(~read.visible[:, None], torch.inf)
    nearest = away.argmin(dim=-1)                                           # (B, K)
    members = torch.zeros_like(shares[:, 0]).scatter_add_(1, nearest, visible.to(shares.dtype))             # (B, K')
    each = visible / members.gather(1, nearest).clamp_min(1)                # (B, K)
    return shares.gather(2, nearest[:, None].expand(-1, shares.shape[1], -1)) * each[:, None]
