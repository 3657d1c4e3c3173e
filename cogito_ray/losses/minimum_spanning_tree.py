"""Exact minimum spanning trees of a batch of complete graphs (Prim, DOI 10.1002/j.1538-7305.1957.tb01515.x)."""

import torch
from torch import Tensor


@torch.no_grad()
def minimum_spanning_tree(distances: Tensor) -> tuple[Tensor, Tensor]:
    """distances (B, C, C) symmetric -> the two ends of each edge (B, C - 1), in the order in which Prim adds them from
    node 0. All texts grow together: C - 1 steps whatever B is, no waiting on the device.
    """
    inside = torch.zeros_like(distances[:, 0], dtype=torch.bool)                # (B, C)
    inside[:, 0].fill_(True)
    to_tree = distances[:, 0].masked_fill(inside, torch.inf)                    # (B, C) distance to it, inf = inside
    link = torch.zeros_like(to_tree, dtype=torch.long)                          # (B, C) nearest node of the tree
    sources, targets = [], []
    for _ in range(distances.shape[1] - 1):
        new = to_tree.argmin(dim=1, keepdim=True)                               # (B, 1)
        sources.append(link.gather(1, new))
        targets.append(new)
        inside = inside.scatter(1, new, True)
        to_new = distances.gather(1, new[..., None].expand(-1, -1, distances.shape[2])).squeeze(1)      # (B, C)
        link = torch.where(to_new < to_tree, new, link)
        to_tree = to_new.minimum(to_tree).masked_fill(inside, torch.inf)
    return torch.cat(sources, dim=1), torch.cat(targets, dim=1)
