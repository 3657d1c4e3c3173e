"""AdamW with decoupled weight decay (arXiv:1711.05101)."""

from pydantic import NonNegativeFloat, PositiveFloat
from torch import nn
from torch.optim import AdamW

from cogito_ray.spec import Spec
from cogito_ray.training.schedule import Share


class AdamWSpec(Spec):
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
        trained = [p for p in module.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        return AdamW(groups, lr=self.learning_rate, betas=(self.beta1, self.beta2), eps=self.epsilon, fused=True)
