"""What each parameter of a model is for, so that optimizers may treat unlike ones unlike.

A module says so of its own parameters where their kind does not tell: by a class variable `parameter_roles`, dotted
names to roles. Else tables are embeddings, what has one axis are norms and biases, and the rest are matrices.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol, runtime_checkable

from torch import nn


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
