"""Scores on held-out rows under one reference corruption with fixed masks: comparable across trials."""

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from cogito_ray.analysis.effective_rank import effective_ranks, nuclear_rank
from cogito_ray.nn.model import ConceptModel
from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.text.vocabulary_info import Vocabulary

MASK_SEED = 20_240_229
"""Seeds the reference corruption's masks; the same for every run, whatever its own seed."""
ROWS_AT_ONCE = 64


class HeldOutLoss:
    """Measures models on the same corrupted views of the same rows."""

    def __init__(self, rows: Tensor, reference: ObjectiveSpec, vocabulary: Vocabulary):
        """rows (R, N) int64: clean held-out token ids."""
        generator = torch.Generator().manual_seed(MASK_SEED)
        self.parts = rows.split(ROWS_AT_ONCE)
        self.views = [reference.corrupt(part, vocabulary, generator).on_host() for part in self.parts]

    @torch.no_grad()
    def __call__(self, model: ConceptModel) -> dict[str, float]:
        """What the model reaches on the held-out rows.

        eval/reconstruction_nats is the weighted mean over all targets, eval/shuffled_reconstruction_nats that over the
        first rows (64 at most) when each is rebuilt from the concepts of another one: a model that does well there
        knows the answer from elsewhere. concepts/effective_rank is the mean over texts of each text's rank, of C at
        most; concepts/nuclear_rank that of the mean concept matrix over texts, which older logs call effective rank.
        """
        device, training = next(model.parameters()).device, model.training
        model.eval()
        concepts = list[Tensor]()
        nats, shuffled = torch.zeros(2, device=device), torch.zeros(2, device=device)
        for view in self.views_for(model):
            seen = model.encoder(view.visible_ids, view.visible_positions, view.mask, view.starts)  # (B, C, D)
            if model.decoder is not None:
                nats += _nats_and_weights(model, seen, view)
            if model.decoder is not None and not concepts:
                shuffled = _nats_and_weights(model, seen.roll(max(1, len(seen) // 2), dims=0), view)
            concepts.append(seen.float())
        model.train(training)
        every = torch.cat(concepts)  # (R, C, D)
        sound = bool(every.isfinite().all())  # a dead run has no ranks; its guards will say so
        ranks = {
            "concepts/effective_rank": float(effective_ranks(every).mean()) if sound else math.nan,
            "concepts/nuclear_rank": nuclear_rank(every.mean(dim=0)) if sound else math.nan,
        }
        if model.decoder is None:
            return ranks
        means = {"eval/reconstruction_nats": float(nats[0] / nats[1])}
        if len(concepts[0]) > 1 and shuffled[1] > 0:
            means["eval/shuffled_reconstruction_nats"] = float(shuffled[0] / shuffled[1])
        return means | ranks

    def unigram_nats(self, log_unigram: Tensor) -> float:
        """What always predicting the frequencies of the training text costs on the same targets. log_unigram (V,)."""
        nats = sum((-log_unigram[view.targets].double() * view.weights).sum() for view in self.views)
        return float(nats / sum(view.weights.double().sum() for view in self.views))

    def views_for(self, model: ConceptModel) -> Iterator[View]:
        """The corrupted views, 64 rows each, on the model's device."""
        device = next(model.parameters()).device
        for view, part in zip(self.views, self.parts, strict=True):
            yield replace(view, starts=model.document_starts(part)).to(device)


def _nats_and_weights(model: ConceptModel, concepts: Tensor, view: View) -> Tensor:
    """(2,) weighted sum of the nats of a view's targets, rebuilt from concepts (B, C, D), and sum of the weights."""
    assert model.decoder is not None
    assert model.head is not None
    query_ids = view.queries(whole=model.decoder.reads_rows)
    hidden = model.decoder(concepts, view.target_positions, query_ids, view.noise, view.starts)  # (B, M, D)
    nats = model.head(hidden, view.targets, 0.0) * view.weights
    return torch.stack([nats.sum(), view.weights.sum()])
