"""What concepts know after each block: linear probes at every depth for words, their order, and a text's length.

After arXiv:1805.01070's probing tasks. Chance is 0.5 for words and order, 0 for length.
"""

import torch
from torch import Tensor

from cogito_ray.analysis.analysis_result import LayerProbes
from cogito_ray.analysis.effective_rank import effective_ranks
from cogito_ray.analysis.ridge_regression import explained
from cogito_ray.evaluation.frozen_concepts import ROWS_AT_ONCE
from cogito_ray.evaluation.validation.word_probes import WordProbes, content_auc, order_accuracy
from cogito_ray.nn.model import ConceptModel
from cogito_ray.text.vocabulary_info import Vocabulary

CUT_SEED = 20_240_301
"""Seeds where texts are cut for the question of their length; the same for every model."""


@torch.no_grad()
def every_layer(model: ConceptModel, ids: Tensor, pad_id: int) -> list[Tensor]:
    """ids (R, N) -> concepts (R, C, D) float32 on the CPU after each applied block."""
    device = next(model.parameters()).device
    positions, layers = torch.arange(ids.shape[1], device=device), []
    for part in ids.split(ROWS_AT_ONCE):
        seen = part.to(device)                                              # (B, N)
        read = (positions.expand_as(seen), seen != pad_id, model.document_starts(seen))
        layers.append(model.encoder.every_layer(seen, *read))
    return [torch.cat([one.float().cpu() for one in layer]) for layer in zip(*layers, strict=True)]


def layer_probes(model: ConceptModel, rows: Tensor, vocabulary: Vocabulary) -> list[LayerProbes]:
    """rows (R, N) of clean token ids. Probes are left out where the rows are too few to tell."""
    words, pad = WordProbes(rows, vocabulary), vocabulary.pad_id
    whole = every_layer(model, rows, pad)
    if not words.enough:
        ranks = [float(effective_ranks(one).mean()) for one in whole]
        return [LayerProbes(number, rank, {}) for number, rank in enumerate(ranks, start=1)]
    cut, lengths = shortened(rows, pad)
    exchanged, short = every_layer(model, words.exchanged, pad), every_layer(model, cut, pad)
    return [
        LayerProbes(
            number,
            float(effective_ranks(one).mean()),
            {
                "word_content_auc": content_auc(one.mean(dim=1), words.present),
                "word_order_accuracy": order_accuracy(one, other, words.lead),
                "length_explained": explained(cut_one.flatten(1), lengths),
            },
        )
        for number, (one, other, cut_one) in enumerate(zip(whole, exchanged, short, strict=True), start=1)
    ]


def shortened(rows: Tensor, pad_id: int) -> tuple[Tensor, Tensor]:
    """rows (R, N) -> the beginnings of the rows, of a quarter of their tokens to all, and their lengths (R,)."""
    real = (rows != pad_id).sum(dim=1)                                      # (R,)
    share = 0.25 + 0.75 * torch.rand(len(rows), generator=torch.Generator().manual_seed(CUT_SEED))
    lengths = (real * share).ceil().long().clamp_min(1)
    return torch.where(torch.arange(rows.shape[1]) < lengths[:, None], rows, pad_id), lengths
