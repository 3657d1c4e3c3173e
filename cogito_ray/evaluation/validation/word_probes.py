"""Which words frozen concepts hold, and in which order: questions that mean the same for every model.

After the word-content and bigram-shift tasks of arXiv:1805.01070, reduced to what a few hundred held-out rows can tell
by one linear map: no labels, no training but ridge regressions in closed form, nothing random.
"""

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from cogito_ray.analysis.ridge_regression import as_stored, folds, ridge
from cogito_ray.base_spec import Spec
from cogito_ray.text.vocabulary_info import Vocabulary

FEWEST_ROWS = 32
"""Fewer rows than this tell nothing, and nothing is reported."""
Encode = Callable[[Tensor], Tensor]
"""Clean token ids (R, N) -> concepts (R, C, D)."""


class WordProbesSpec(Spec):
    """Which words are asked for."""

    metrics: ClassVar[tuple[str, ...]] = (
        "eval/word_content_auc",
        "eval/word_content_auc_of_token_means",
        "eval/word_order_accuracy",
    )
    min_share: float = Field(default=1 / 16, gt=0, lt=0.5)
    """Words (tokens, in truth) are asked for that stand in at least this share of the held-out rows and in at most half
    of them."""

    def build(self, rows: Tensor, vocabulary: Vocabulary) -> "WordProbes":
        """rows (R, N) int64: clean held-out token ids."""
        return WordProbes(rows, vocabulary, self.min_share)


class WordProbes:
    """The questions about one set of rows. Chance is 0.5 in each answer."""

    def __init__(self, rows: Tensor, vocabulary: Vocabulary, min_share: float = 1 / 16):
        """rows (R, N) int64: clean held-out token ids."""
        self.rows = rows
        self.exchanged, first = halves_exchanged(rows, vocabulary.pad_id)
        one, two = (_presence(rows, where & (rows != vocabulary.pad_id), vocabulary) for where in (first, ~first))
        present, lead = one | two, one.double() - two.double()              # (R, V)
        share, one_sided = present.double().mean(dim=0), (lead != 0).double().mean(dim=0)
        self.present = present[:, (share >= min_share) & (share <= 0.5)]         # (R, W)
        self.lead = lead[:, (one_sided >= min_share) & (share <= 0.5)]      # (R, W'): 1 first half, -1 second
        self.enough = len(rows) >= FEWEST_ROWS and self.present.shape[1] > 0 and self.lead.shape[1] > 0

    def __call__(self, encode: Encode, token_means: Encode) -> dict[str, float]:
        """What the concepts know, beside what the mean of the model's own token vectors (R, T) knows.

        Empty where the rows are too few to tell.
        """
        if not self.enough:
            return {}
        concepts = encode(self.rows)                                        # (R, C, D)
        answers = (
            content_auc(concepts.mean(dim=1), self.present),
            content_auc(token_means(self.rows), self.present),
            order_accuracy(concepts, encode(self.exchanged), self.lead),
        )
        return dict(zip(WordProbesSpec.metrics, answers, strict=True))


def content_auc(vectors: Tensor, present: Tensor) -> float:
    """How well a linear map of a row's vector (R, D) tells which words it holds: present (R, W) bool.

    The mean over words of the area under the ROC curve, over pairs of rows of which the map saw neither. NaN if a
    vector is not finite.
    """
    if not vectors.isfinite().all():
        return math.nan
    stored = as_stored(vectors)
    features = stored - stored[:1]                                          # exactly 0 where all rows are alike
    kernel = features @ features.T                                          # (R, R)
    answers = present.double()                                              # (R, W)
    concordant = pairs = torch.zeros(present.shape[1], dtype=torch.float64)
    for fitted, unseen in folds(len(vectors)):
        seen, new = kernel[fitted][:, fitted], kernel[unseen][:, fitted]
        middle = seen.mean(dim=0)                                           # products with the mean of the rows seen
        centred = seen - middle - middle[:, None] + middle.mean()
        offset = new - middle - new.mean(dim=1, keepdim=True) + middle.mean()
        scores = offset @ ridge(centred, answers[fitted] - answers[fitted].mean(dim=0))
        won, of = _ordered_pairs(scores, present[unseen])
        concordant, pairs = concordant + won, pairs + of
    return float((concordant / pairs)[pairs > 0].mean())


def order_accuracy(concepts: Tensor, exchanged: Tensor, lead: Tensor) -> float:
    """How often a linear map tells a row's concepts (R, C, D) from those of the row with its halves exchanged.

    It is asked, for one word at a time, in which of the two that word comes first; lead (R, W) is 1 where it stands in
    the first half only, -1 in the second only, 0 where it is not asked. All concepts are read, each as what it is. A
    bag of words sees two equal rows and can but guess. NaN if a concept is not finite.
    """
    if not (concepts.isfinite().all() and exchanged.isfinite().all()):
        return math.nan
    change = (as_stored(concepts) - as_stored(exchanged)).flatten(1)        # (R, C * D)
    kernel = change @ change.T                                              # (R, R)
    right = asked_for = torch.zeros(lead.shape[1], dtype=torch.float64)
    for fitted, unseen in folds(len(concepts)):
        scores = kernel[unseen][:, fitted] @ ridge(kernel[fitted][:, fitted], lead[fitted])
        agreement = (scores * lead[unseen]).sign()                           # 1 right, -1 wrong, 0 a guess
        is_asked = lead[unseen] != 0
        right = right + ((agreement + 1) / 2 * is_asked).sum(dim=0)
        asked_for = asked_for + is_asked.sum(dim=0)
    return float((right / asked_for)[asked_for > 0].mean())


def halves_exchanged(rows: Tensor, pad_id: int) -> tuple[Tensor, Tensor]:
    """rows (R, N) -> the rows with the halves of their real tokens exchanged, and which places are a first half."""
    places = torch.arange(rows.shape[1]).expand_as(rows)
    count = (rows != pad_id).sum(dim=1, keepdim=True)                       # (R, 1)
    half = count // 2
    source = torch.where(places < count, (places + half) % count.clamp_min(1), places)
    return rows.gather(1, source), places < half


def _presence(rows: Tensor, where: Tensor, vocabulary: Vocabulary) -> Tensor:
    """(R, V) bool: which text tokens stand at these places (R, N)."""
    counts = torch.zeros(len(rows), vocabulary.size).scatter_add_(1, rows, where.float())
    counts[:, list(vocabulary.special_ids)] = 0
    return counts > 0


def _ordered_pairs(scores: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Per word, pairs of a row with it and one without that the scores (n, W) order rightly (ties: half), and all."""
    columns = scores.T.contiguous()                                         # (W, n)
    ordered = columns.sort(dim=1).values
    below, upto = (torch.searchsorted(ordered, columns, right=right) for right in (False, True))
    ranks = (below + upto + 1) / 2                                          # from 1, ties averaged
    held = present.sum(dim=0)                                               # (W,)
    rank_sum = (ranks.T * present).sum(dim=0)
    return rank_sum - held * (held + 1) / 2, held * (len(present) - held)
