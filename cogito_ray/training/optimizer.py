"""AdamW with decoupled weight decay (arXiv:1711.05101), and Muon for matrices (arXiv:2502.16982)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from pydantic import NonNegativeFloat, PositiveFloat
from torch import nn
from torch.optim import AdamW, Optimizer

from cogito_ray.base_spec import Spec
from cogito_ray.training.learning_rate_schedule import Share
from cogito_ray.training.parameter_roles import Role, parameters_by_role


class GroupSpec(Spec):
    """How parameters of one role are trained."""

    learning_rate_factor: PositiveFloat = 1.0
    """Multiplies the learning rate."""
    weight_decay: NonNegativeFloat | None = None
    """None = the optimizer's; for norms and biases, none."""


class GroupsSpec(Spec):
    """The roles that parameters have; each has one."""

    matrices: GroupSpec = GroupSpec()
    """Weights of linear layers, and whatever else has two axes or more."""
    embeddings: GroupSpec = GroupSpec()
    """Tables of tokens, also where they score words (`model.head.tied`), and of learned positions."""
    head: GroupSpec = GroupSpec()
    """The matrix that scores words where it is no token table."""
    latents: GroupSpec = GroupSpec()
    """What concepts are before they have read anything."""
    scores: GroupSpec = GroupSpec()
    """The table of decoder `weighted`."""
    norms_and_biases: GroupSpec = GroupSpec()
    """Whatever has one axis: norms, biases, gates, learned weights of losses."""


class _OptimizerSpec(Spec):
    learning_rate: PositiveFloat = 2e-3
    """Highest rate, reached after the warm-up. 2e-3 to 3e-3 suits widths of 128-192."""
    beta1: Share = 0.9
    beta2: Share = 0.98
    epsilon: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.01
    """Of all but norms and biases."""
    clip: PositiveFloat = 1.0
    """Largest norm of the whole gradient; a larger one is scaled down to it."""
    groups: GroupsSpec = GroupsSpec()
    """Other rates and weight decay for parameters of some roles."""

    def _groups(self, module: nn.Module) -> dict[Role, dict[str, Any]]:
        """Those of the parameters that require a gradient. `initial_lr` is the rate that schedules multiply.

        ValueError where a role is given settings that no parameter has.
        """
        found = {}
        for role, named in parameters_by_role(module).items():
            spec: GroupSpec = getattr(self.groups, role)
            trained = [parameter for parameter in named.values() if parameter.requires_grad]
            if not trained:
                if spec != GroupSpec():
                    raise ValueError(f"training.optimizer.groups.{role}: no parameter has this role; leave it out")
                continue
            rate = self.learning_rate * spec.learning_rate_factor
            usual = 0.0 if role is Role.NORMS_AND_BIASES else self.weight_decay
            decay = usual if spec.weight_decay is None else spec.weight_decay
            found[role] = {"params": trained, "lr": rate, "initial_lr": rate, "weight_decay": decay}
        return found

    def _adamw(self, groups: list[dict[str, Any]]) -> AdamW:
        return AdamW(groups, betas=(self.beta1, self.beta2), eps=self.epsilon, fused=True)


class AdamWSpec(_OptimizerSpec):
    """Rates, moments, decay and clipping of AdamW."""

    kind: Literal["adamw"] = "adamw"

    def build(self, module: nn.Module) -> Optimizer:
        """An optimizer of the parameters that require a gradient, a group a role."""
        return self._adamw([*self._groups(module).values()])


OptimizerSpec = AdamWSpec


@contextmanager
def own_settings(optimizer: Optimizer) -> Iterator[None]:
    """While an optimizer's state is loaded: settings stay those of the run, which may branch off one with others."""
    own = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    yield
    for group, settings in zip(optimizer.param_groups, own, strict=True):
        group.update(settings)
