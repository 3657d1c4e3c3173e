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

    def _followed(self, optimizer: Optimizer) -> Optimizer:
        if self.ema is not None:
            self.ema.follow(optimizer)
        return optimizer

    def _adamw(self, groups: list[dict[str, Any]]) -> AdamW:
        return AdamW(groups, betas=(self.beta1, self.beta2), eps=self.epsilon, fused=True)


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
        return self._followed(self._adamw([*self._groups(module).values()]))


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
        matrices = groups.get(Role.MATRICES, {"params": []})
        flat = [parameter for parameter in matrices["params"] if parameter.ndim == 2]
        if not flat:
            raise ValueError("training.optimizer 'muon': the model has no matrix that is trained; use 'adamw'")
        others = [parameter for parameter in matrices["params"] if parameter.ndim != 2]
        groups[Role.MATRICES] = matrices | {"params": others}
        muon = Muon([matrices | {"params": flat}], momentum=self.momentum, adjust_lr_fn="match_rms_adamw")
        adamw = self._adamw([group for group in groups.values() if group["params"]])
        return self._followed(MuonAndAdamW(muon, adamw))


def _adamw_by_default(given: object) -> object:
    return {"kind": "adamw"} | given if isinstance(given, dict) else given


OptimizerSpec = Annotated[AdamWSpec | MuonSpec, Field(discriminator="kind"), BeforeValidator(_adamw_by_default)]


class MuonAndAdamW(Optimizer):
    """One optimizer of two, with one state: Muon for the first group, AdamW for the others."""

    found_inf: Tensor | None = None
    """Scalar on the device; where it is 1, a step changes nothing (see `skip_if_not_finite`)."""

    def __init__(self, muon: Muon, adamw: AdamW):
        super().__init__([*muon.param_groups, *adamw.param_groups], {})
        self._muon, self._adamw = muon, adamw

    @torch.no_grad()
    def step(self, closure: None = None) -> None:                           # type: ignore[override]
        """Both, on the state and the settings that stand here, wherever they were loaded from."""
        matrices, *others = self.param_groups
        self._adamw.param_groups, self._adamw.state = others, self.state
        self._adamw.found_inf = self.found_inf                              # type: ignore[attr-defined]
        self._adamw.step()
        self._muon.state = self.state
        for parameter in matrices["params"]:                                # one by one: one copy at a time is kept
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            momentum = self.state[parameter]["momentum_buffer"]
            before = [] if self.found_inf is None else [(each, each.clone()) for each in (parameter, momentum)]
            self._muon.param_groups = [matrices | {"params": [parameter]}]
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
