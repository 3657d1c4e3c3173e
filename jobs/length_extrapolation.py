"""Does a model still rebuild rows longer than those it was trained on, and does it everywhere in them?"""

import copy

import torch
from torch import Tensor

from cogito_ray.evaluation.validation.held_out_loss import MASK_SEED
from cogito_ray.nn.model import ConceptModel
from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.text.vocabulary_info import Vocabulary

PARTS = 4


@torch.no_grad()
def nats_by_position(
    model: ConceptModel, rows: Tensor, reference: ObjectiveSpec, vocabulary: Vocabulary
) -> list[float]:
    """Held-out nats a token in each quarter of rows (R, N) of any length N; NaN where a quarter has no target.

    Positions are squeezed into the trained range. One row is read at a time. The model itself is left as it was.
    ValueError where it has no decoder.
    """
    resized, generator = copy.deepcopy(model).eval(), torch.Generator().manual_seed(MASK_SEED)
    resized.resize(rows.shape[1])
    encoder, decoder, head = resized.encoder, resized.decoder, resized.head
    if decoder is None or head is None:
        raise ValueError("a model without a decoder rebuilds nothing; set model.decoder")
    sums = torch.zeros(2, PARTS, dtype=torch.float64)
    for row in rows:
        view = reference.corrupt(row[None], vocabulary, generator)
        starts = model.document_starts(row[None])
        concepts = encoder(view.visible_ids, view.visible_positions, view.visible, starts)                  # (1, C, D)
        query_ids = view.queries(whole=decoder.reads_rows)
        hidden = decoder(concepts, view.target_positions, query_ids, view.noise, starts)               # (1, M, D)
        sums += summed_by_position(head(hidden, view.targets, 0.0), view, rows.shape[1])
    return (sums[0] / sums[1]).tolist()


def summed_by_position(nats: Tensor, view: View, length: int) -> Tensor:
    """nats (B, M) of a view's targets -> (2, 4) sums of nats and of weights in each quarter of rows of `length`."""
    part = (view.target_positions * PARTS // length).flatten()
    weighted = torch.stack([nats * view.weights, view.weights]).flatten(1).double()                         # (2, B * M)
    return torch.zeros(2, PARTS, dtype=torch.float64).index_add_(1, part, weighted)
