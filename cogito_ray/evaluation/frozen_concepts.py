"""Clean token rows in, frozen concepts out: what every question put to a trained model starts from."""

import torch
from torch import Tensor

from cogito_ray.nn.interop.pooled_transformer import TextModel

ROWS_AT_ONCE = 64


@torch.no_grad()
def encode(model: TextModel, ids: Tensor, pad_id: int) -> Tensor:
    """ids (R, N) -> concepts (R, C, D) float32 on the CPU. Padding is not read; the model's mode is left as it was."""
    device, training = next(model.parameters()).device, model.training
    model.eval()
    positions = torch.arange(ids.shape[1], device=device)
    concepts = []
    for part in ids.split(ROWS_AT_ONCE):
        seen = part.to(device)                                              # (B, N)
        read = model.encoder(seen, positions.expand_as(seen), seen != pad_id, model.document_starts(seen))
        concepts.append(read.float().cpu())
    model.train(training)
    return torch.cat(concepts)


@torch.no_grad()
def token_means(model: TextModel, ids: Tensor, pad_id: int, weights: Tensor | None = None) -> Tensor:
    """ids (R, N) -> mean vector of each row's tokens (R, T), straight from the model's own table: no concept read it.
    weights (V,), of each token; None = all alike.

    The sanity floor of every score: a bag of words that costs nothing.
    """
    table = model.token_table
    seen = ids.to(table.device)
    real = (seen != pad_id)[..., None].to(table.dtype)                      # (R, N, 1)
    if weights is not None:
        real = real * weights.to(table)[seen][..., None]
    known = seen.masked_fill(seen == pad_id, 0)                             # padding may be beyond others' tables
    total = (torch.nn.functional.embedding(known, table) * real).sum(dim=1) # (R, T)
    return (total / real.sum(dim=1)).float().cpu()
