"""AdamW with decoupled weight decay (arXiv:1711.05101), and Muon for matrices (arXiv:2502.16982)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import BeforeValidator, ConfigDict, Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.parametrisation import Growth
from cogito_ray.training.learning_rate_schedule import Share
from cogito_ray.training.parameter_roles import (
    Factors,
    Role,
    adamw_factors,
    growth_by_name,
    muon_factors,
    parameters_by_role,
)


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


class EmaSpec(Spec):
    """An exponential moving average of the weights, kept beside them: often the better model (arXiv:1703.01780)."""

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    """What a step keeps of the average, which so looks back on about 1 / (1 - decay) steps."""
    evaluate: bool = True
    """Reports, labelled tasks and exports take the average. false = the weights; the average stays in optimizer.pt."""

    def follow(self, optimizer: Optimizer) -> None:
        """Take every step into the average, which stands in the optimizer's state, and with it in checkpoints."""
        optimizer.register_step_post_hook(lambda stepped, *_: self._update(stepped))

    def _update(self, optimizer: Optimizer) -> None:
        trained = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        for parameter in trained:
            if "average" not in optimizer.state[parameter]:
                optimizer.state[parameter]["average"] = parameter.detach().clone()
        averages = [optimizer.state[parameter]["average"] for parameter in trained]
        get_ema_multi_avg_fn(self.decay)(averages, trained, 0)


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
    ema: EmaSpec | None = None
    """An average of the weights over past steps. None = none."""

    @property
    def evaluates_average(self) -> bool:
        """Is the model that is asked, and exported, the average of the weights?"""
        return self.ema is not None and self.ema.evaluate

    def _groups(self, module: nn.Module) -> list[tuple[Factors, dict[str, Any]]]:
        """Of the parameters that require a gradient, one for each role, or for each that mup's factors tell apart.
        `initial_lr` is the rate that schedules multiply.

        ValueError where a role is given settings that no parameter has.
        """
        growth, found = growth_by_name(module), list[tuple[Factors, dict[str, Any]]]()
        for role, named in parameters_by_role(module).items():
            spec: GroupSpec = getattr(self.groups, role)
            alike: dict[Factors, list[nn.Parameter]] = {}
            for name, parameter in named.items():
                if parameter.requires_grad:
                    grown = growth.get(name, Growth((1.0,) * parameter.ndim))
                    alike.setdefault(self._factors(role, parameter, grown), []).append(parameter)
            if not alike and spec != GroupSpec():
                raise ValueError(f"training.optimizer.groups.{role}: no parameter has this role; leave it out")
            found += [(factors, self._group(role, spec, factors) | {"params": each}) for factors, each in alike.items()]
        return found

    def _factors(self, role: Role, parameter: nn.Parameter, growth: Growth) -> Factors:
        return adamw_factors(role, growth)

    def _group(self, role: Role, spec: GroupSpec, factors: Factors) -> dict[str, Any]:
        rate = self.learning_rate * spec.learning_rate_factor * factors.rate
        usual = 0.0 if role is Role.NORMS_AND_BIASES else self.weight_decay
        decay = usual if spec.weight_decay is None else spec.weight_decay
        group = {"lr": rate, "initial_lr": rate, "weight_decay": decay / factors.rate}
        return group if factors.epsilon is None else group | {"eps": self.epsilon * factors.epsilon}

    def _followed(self, optimizer: Optimizer) -> Optimizer:
        if self.ema is not None:
            self.ema.follow(optimizer)
        return optimizer

    def _adamw(self, groups: list[dict[str, Any]]) -> AdamW:
        return AdamW(groups, betas=(self.beta1, self.beta2), fused=True)


class AdamWSpec(_OptimizerSpec):
    """Rates, moments, decay and clipping of AdamW."""

    kind: Literal["adamw"] = "adamw"
    shards: ClassVar[bool] = True
    """Does it take shards of weights?"""

    def settled(self) -> dict[str, Any]:
        """Without its kind, as it was before there was another: no run is renamed."""
        return {name: value for name, value in super().settled().items() if name != "kind"}

    def build(self, module: nn.Module) -> Optimizer:
        """An optimizer of the parameters that require a gradient, a group a role."""
        return self._followed(self._adamw([group for _, group in self._groups(module)]))


class MuonSpec(_OptimizerSpec):
    """Muon for weights of linear layers: the momentum of their gradient, orthogonalised; AdamW for all else.

    Updates are scaled to the size that AdamW's have, 0.2 a weight (arXiv:2502.16982, section 2.2), so that one learning
    rate and one weight decay serve both.
    """

    model_config = ConfigDict(json_schema_extra={"required": ["kind"]})     # without a kind, it is AdamW
    kind: Literal["muon"] = "muon"
    shards: ClassVar[bool] = False
    momentum: Share = 0.95
    """Of Muon, as Nesterov has it."""

    def build(self, module: nn.Module) -> Optimizer:
        """An optimizer of the parameters that require a gradient, a group a role. ValueError where none is a matrix."""
        groups = self._groups(module)
        flat = [group for factors, group in groups if factors.epsilon is None]
        if not flat:
            raise ValueError("training.optimizer 'muon': the model has no matrix that is trained; use 'adamw'")
        muon = Muon(flat, momentum=self.momentum, adjust_lr_fn="match_rms_adamw")
        adamw = self._adamw([group for factors, group in groups if factors.epsilon is not None])
        return self._followed(MuonAndAdamW(muon, adamw))

    def _factors(self, role: Role, parameter: nn.Parameter, growth: Growth) -> Factors:
        if role is Role.MATRICES and parameter.ndim == 2:
            return muon_factors(parameter.shape, growth)
        return adamw_factors(role, growth)


def _adamw_by_default(given: object) -> object:
    return {"kind": "adamw"} | given if isinstance(given, dict) else given


OptimizerSpec = Annotated[AdamWSpec | MuonSpec, Field(discriminator="kind"), BeforeValidator(_adamw_by_default)]


class MuonAndAdamW(Optimizer):
    """One optimizer of two, with one state: Muon for the first groups, AdamW for the others."""

    found_inf: Tensor | None = None
    """Scalar on the device; where it is 1, a step changes nothing (see `skip_if_not_finite`)."""

    def __init__(self, muon: Muon, adamw: AdamW):
        super().__init__([*muon.param_groups, *adamw.param_groups], {})
        self._muon, self._adamw, self._by_muon = muon, adamw, len(muon.param_groups)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:                           # type: ignore[override]
        """Both, on the state and the settings that stand here, wherever they were loaded from."""
        groups, others = self.param_groups[: self._by_muon], self.param_groups[self._by_muon :]
        self._adamw.param_groups, self._adamw.state = others, self.state
        self._adamw.found_inf = self.found_inf                              # type: ignore[attr-defined]
        self._adamw.step()
        self._muon.state = self.state
        for settings, parameter in ((group, each) for group in groups for each in group["params"]):
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            momentum = self.state[parameter]["momentum_buffer"]             # one by one: one copy at a time is kept
            before = [] if self.found_inf is None else [(each, each.clone()) for each in (parameter, momentum)]
            self._muon.param_groups = [settings | {"params": [parameter]}]
            self._muon.step()
            for now, kept in before:
                now.copy_(torch.where(self.found_inf == 1, kept, now))      # type: ignore[arg-type]


def skip_if_not_finite(optimizer: Optimizer, norm: Tensor) -> None:
    """Let the next step change nothing, neither weights nor moments, if the gradient of this norm is not finite. The
    device decides, so that nobody waits for it: by the flag that torch's GradScaler gives to fused optimizers."""
    optimizer.found_inf = (~norm.isfinite()).float()                        # type: ignore[attr-defined]


@torch.no_grad()
def load_average(optimizer: Optimizer) -> None:
    """Put the average of each weight that has one in the weight's place."""
    for parameter, state in optimizer.state.items():
        if "average" in state:
            parameter.copy_(state["average"])


@contextmanager
def averaged(optimizer: Optimizer) -> Iterator[None]:
    """While this lasts, averages stand in the places of the weights."""
    kept = [(parameter, parameter.detach().clone()) for parameter in optimizer.state]
    try:
        yield load_average(optimizer)
    finally:
        with torch.no_grad():
            for parameter, weight in kept:
                parameter.copy_(weight)


@contextmanager
def own_settings(optimizer: Optimizer) -> Iterator[None]:
    """While an optimizer's state is loaded: settings stay those of the run, which may branch off one with others."""
    own = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    yield
    for group, settings in zip(optimizer.param_groups, own, strict=True):
        group.update(settings)
