"""What each parameter of a model is for, so that optimizers may treat unlike ones unlike, and how its rates follow its
size under the parametrisation mup.

A module says so of its own parameters where their kind does not tell: by a class variable `parameter_roles`, dotted
names to roles. Else tables are embeddings, what has one axis are norms and biases, and the rest are matrices.
"""

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol, runtime_checkable

from torch import nn

from cogito_ray.nn.parametrisation import Growth


class Role(StrEnum):
    """What a parameter is for."""

    MATRICES = "matrices"
    EMBEDDINGS = "embeddings"
    HEAD = "head"
    LATENTS = "latents"
    SCORES = "scores"
    NORMS_AND_BIASES = "norms_and_biases"


@runtime_checkable
class DeclaresRoles(Protocol):
    """A module that knows better what some of its parameters are for."""

    parameter_roles: Mapping[str, str]


def parameters_by_role(module: nn.Module) -> dict[Role, dict[str, nn.Parameter]]:
    """Each parameter of `module` in the one role that it has, by name. ValueError where a module names none of them."""
    declared = {
        f"{path}.{name}".lstrip("."): Role(role)
        for path, part in module.named_modules()
        if isinstance(part, DeclaresRoles)
        for name, role in part.parameter_roles.items()
    }
    roles: dict[Role, dict[str, nn.Parameter]] = {role: {} for role in Role}
    for name, parameter in module.named_parameters():
        owner = module.get_submodule(name.rpartition(".")[0])
        roles[declared.get(name) or _by_kind(owner, parameter)][name] = parameter
    return roles


def _by_kind(owner: nn.Module, parameter: nn.Parameter) -> Role:
    if isinstance(owner, nn.Embedding):
        return Role.EMBEDDINGS
    return Role.MATRICES if parameter.ndim > 1 else Role.NORMS_AND_BIASES


@runtime_checkable
class HasGrown(Protocol):
    """A model that knows how many times as large its parameters are as in its base model."""

    growth: Mapping[str, Growth]


class Factors(NamedTuple):
    """What a parameter's settings are multiplied with because of its size. Its weight decay is divided by that of the
    rate, so that a step takes the same share of the weights at every size (arXiv:2505.01618)."""

    rate: float
    epsilon: float | None
    """Of AdamW; None for Muon, which has none."""


def growth_by_name(module: nn.Module) -> dict[str, Growth]:
    """Of the parameters of the models in `module` that have another size than in their base model."""
    return {
        f"{path}.{name}".lstrip("."): growth
        for path, part in module.named_modules()
        if isinstance(part, HasGrown)
        for name, growth in part.growth.items()
    }


def adamw_factors(role: Role, growth: Growth) -> Factors:
    """Each weight moves by about the rate. So a sum over what is read grows with its width, and a matrix's rate falls
    with it; a table's row or a bias is read alone. Gradients fall with the width that is written, and with the depth of
    a stack of residual layers, and AdamW's epsilon with them (arXiv:2505.01618, table 1)."""
    if role is Role.MATRICES:
        return Factors(1 / math.prod(growth.axes[1:]), 1 / (growth.axes[0] * growth.depth))
    return Factors(1.0, 1 / (math.prod(growth.axes[-1:]) * growth.depth))


def muon_factors(shape: Sequence[int], growth: Growth) -> Factors:
    """An update has the spectral norm 0.2 sqrt(the longer side), and should have sqrt(written / read)
    (arXiv:2310.17813)."""
    written, read = growth.axes
    longer = max(shape) / max(shape[0] / written, shape[1] / read)
    return Factors(math.sqrt(written / read / longer), None)
