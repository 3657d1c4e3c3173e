"""The coordinate check of arXiv:2203.03466, appendix D.1: how activations, and what training makes of them, grow with a
model's size. Under a parametrisation whose best settings do not move with the size, neither does.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from cogito_ray.losses.total_loss import TotalLoss
from cogito_ray.objectives.corrupted_view import View
from cogito_ray.run_spec import RunSpec
from cogito_ray.testing.tiny_runs import LENGTH, VOCABULARY, rows


def coordinates(run: RunSpec, steps: Sequence[int]) -> dict[str, float]:
    """After so many steps of training on the same rows: root mean square of activations, and of how far they have
    moved; and by how much scores of the right words have risen above those of all, in the mean.

    What scores are at first, and what they gain by that when activations move, is noise, which a mean has not: under
    mup it falls with the root of the width.
    """
    torch.manual_seed(run.seed)
    total = TotalLoss(run.model.build(VOCABULARY, LENGTH), run.loss)
    optimizer = run.training.optimizer.build(total)
    view, other = run.views(rows(), VOCABULARY, torch.Generator().manual_seed(0))
    first, found = _activations(total, view), dict[str, float]()
    for step in range(1, max(steps) + 1):
        total(view, other).total.backward()
        torch.nn.utils.clip_grad_norm_(total.parameters(), run.training.optimizer.clip)
        optimizer.step()
        optimizer.zero_grad()
        if step in steps:
            now = _activations(total, view)
            moved = {name: value - first[name] for name, value in now.items()}
            scores = moved.pop("scores", None)
            found |= {f"{name} after {step}": _rms(now[name]) for name in moved}
            found |= {f"{name} moved after {step}": _rms(value) for name, value in moved.items()}
            if scores is not None:
                found[f"scores of right words risen after {step}"] = float(scores[view.weights > 0].mean())
    return found


def slopes(by_size: Mapping[int, dict[str, float]]) -> dict[str, float]:
    """Of each measure's logarithm over that of the size, by least squares: 0 = it does not grow, 1 = as the size."""
    sizes = np.log(list(by_size))
    names = next(iter(by_size.values()))
    return {name: float(np.polyfit(sizes, np.log([one[name] for one in by_size.values()]), 1)[0]) for name in names}


@torch.no_grad()
def _activations(total: TotalLoss, view: View) -> dict[str, Tensor]:
    model = total.model
    concepts = model.encoder.every_layer(view.visible_ids, view.visible_positions, view.mask, view.starts)
    found = {"concepts halfway": concepts[(len(concepts) - 1) // 2], "concepts": concepts[-1]}
    if model.decoder is not None and model.head is not None:
        query_ids = view.queries(whole=model.decoder.reads_rows)
        hidden = model.decoder(concepts[-1], view.target_positions, query_ids, view.noise, view.starts)
        logits = model.head.logits(hidden)                                      # (B, M, V)
        right = logits.gather(-1, view.targets[..., None]).squeeze(-1)
        found |= {"hidden": hidden, "scores": right - logits.mean(dim=-1)}
    return found


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
