"""AdamW with decoupled weight decay (arXiv:1711.05101)."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import NonNegativeFloat, PositiveFloat
from torch import nn
from torch.optim import AdamW, Optimizer

from cogito_ray.base_spec import Spec
from cogito_ray.training.learning_rate_schedule import Share


class AdamWSpec(Spec):
    """Rates, moments, decay and clipping of AdamW."""

    learning_rate: PositiveFloat = 2e-3
    """Highest rate, reached after the warm-up. 2e-3 to 3e-3 suits widths of 128-192."""
    beta1: Share = 0.9
    beta2: Share = 0.98
    epsilon: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.01
    """Applied to matrices only: norms, biases and gates (one axis) are left alone."""
    clip: PositiveFloat = 1.0
    """Largest norm of the whole gradient; a larger one is scaled down to it."""

    def build(self, module: nn.Module) -> AdamW:
        """An optimizer of the parameters that require a gradient."""
        trained = [p for p in module.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        return AdamW(groups, lr=self.learning_rate, betas=(self.beta1, self.beta2), eps=self.epsilon, fused=True)


@contextmanager
def own_settings(optimizer: Optimizer) -> Iterator[None]:
    """While an optimizer's state is loaded: settings stay those of the run, which may branch off one with others."""
    own = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    yield
    for group, settings in zip(optimizer.param_groups, own, strict=True):
        group.update(settings)
