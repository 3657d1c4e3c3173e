"""What `evaluation.analysis` reports of the concepts of held-out texts: whole, cut in halves, and corrupted."""

import torch
from torch import Tensor

from cogito_ray.analysis.lidar_and_information import information_nats, lidar
from cogito_ray.analysis.metrics_by_name import concept_metrics
from cogito_ray.analysis.thresholds import REPORTED
from cogito_ray.evaluation.frozen_concepts import encode
from cogito_ray.evaluation.validation.held_out_loss import HeldOutLoss
from cogito_ray.nn.model import ConceptModel
from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.text.vocabulary_info import Vocabulary

VIEWS = 4
"""Corruptions of each text, of which LiDAR is taken."""


class ConceptAnalysis:
    """Measures models on the same corrupted views of the same rows."""

    def __init__(self, rows: Tensor, reference: ObjectiveSpec, vocabulary: Vocabulary):
        """rows (R, N) int64: clean held-out token ids."""
        self.rows, self.pad_id, half = rows, vocabulary.pad_id, rows.shape[1] // 2
        self.halves = rows[rows[:, half] != self.pad_id, : 2 * half].split(half, dim=1)     # each (R' <= R, N // 2)
        self.corrupted = HeldOutLoss(rows.repeat(VIEWS, 1), reference, vocabulary)

    def __call__(self, model: ConceptModel) -> dict[str, float]:
        """Nothing where concepts are not finite, of which guards will tell."""
        concepts = encode(model, self.rows, self.pad_id)                    # (R, C, D)
        if not concepts.isfinite().all():
            return {}
        halves = (encode(model, half, self.pad_id).mean(dim=1) for half in self.halves)
        found = concept_metrics(concepts) | {
            "pooled_lidar": lidar(self._corrupted(model)),
            "pooled_information_nats": information_nats(*halves),
        }
        return {name: found[metric] for name, metric in REPORTED.items() if metric in found}

    @torch.no_grad()
    def _corrupted(self, model: ConceptModel) -> Tensor:
        """(R, VIEWS, D) mean concepts."""
        training, pooled = model.training, list[Tensor]()
        model.eval()
        for seen in self.corrupted.views_for(model):
            read: Tensor = model.encoder(seen.visible_ids, seen.visible_positions, seen.mask, seen.starts)
            pooled.append(read.float().mean(dim=1).cpu())
        model.train(training)
        return torch.stack(torch.cat(pooled).chunk(VIEWS), dim=1)
