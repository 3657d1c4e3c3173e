"""Exact minimum spanning trees of a batch of complete graphs (Prim, DOI 10.1002/j.1538-7305.1957.tb01515.x)."""

import torch
from torch import Tensor


@torch.no_grad()
def spanning_tree(gaps: Tensor) -> tuple[Tensor, Tensor]:
    """gaps (B, C, C) symmetric -> the two ends of each edge (B, C - 1), in the order in which Prim adds them from
    node 0. All texts grow together: C - 1 steps whatever B is, no waiting on the device.
    """
    nearest = gaps[:, 0].clone()                                                # (B, C) gap to the tree; inf inside it
    nearest[:, 0] = torch.inf
    link = torch.zeros_like(nearest, dtype=torch.long)                          # (B, C) tree node that is nearest
    sources, targets = [], []
    inside = torch.zeros_like(nearest, dtype=torch.bool)
    inside[:, 0] = True
    for _ in range(gaps.shape[1] - 1):
        new = nearest.argmin(dim=1, keepdim=True)                               # (B, 1)
        sources.append(link.gather(1, new))
        targets.append(new)
        inside = inside.scatter(1, new, True)
        fresh = gaps.gather(1, new[..., None].expand(-1, -1, gaps.shape[2])).squeeze(1)         # (B, C)
        link = torch.where(fresh < nearest, new, link)
        nearest = fresh.minimum(nearest).masked_fill(inside, torch.inf)
    return torch.cat(sources, dim=1), torch.cat(targets, dim=1)
