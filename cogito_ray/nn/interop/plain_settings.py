"""What takes the place of names of the same spelling in modelling code that is exported: settings as plain data, which
were validated when the model was trained, so that torch and transformers are all that the code needs.
"""

from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar, get_args, get_type_hints

import torch.nn.functional as F
from torch import Tensor

Anything = TypeVar("Anything")
PositiveInt = NonNegativeInt = int
PositiveFloat = NonNegativeFloat = float
WeightedSum = object
LOSSES = dict.fromkeys(("auto", "chunked", "liger", "cut"))
"""Kernels of training: what is exported computes its loss from logits."""
_registered: dict[str, list[type]] = {}


def Field(**constraints: object) -> str:
    """Marks a union whose members `kind` tells apart."""
    return "kind"


class OpenUnion:
    """Marks one that plugins add to."""

    def __init__(self, name: str, *, by_name: bool = False):
        self.name = name


def register(name: str) -> Callable[[Anything], Anything]:
    """Decorates a member of that union."""

    def add(spec: Any) -> Any:
        _registered.setdefault(name, []).append(spec)
        return spec

    return add


def model_validator(**when: object) -> Callable[[Anything], Anything]:
    """Settings were validated."""
    return lambda method: method


def load(references: object) -> bool:
    """Kinds of plugins stand in the exported code itself."""
    return False


def used_by(spec: object) -> list[str]:
    """References of plugins: none is imported."""
    return []


class Spec:
    """Settings; what is not given is at the class's default."""

    def __init__(self, **given: Any):
        vars(self).update(given)

    @classmethod
    def model_validate(cls, tree: dict[str, Any]) -> Self:
        """From plain data, as `model_dump` of the validated settings gave it."""
        hints = get_type_hints(cls, include_extras=True)
        return cls(**{name: _settings(value, hints[name]) for name, value in tree.items()})

    def model_copy(self, update: dict[str, Any]) -> Self:
        """The same with other values."""
        return type(self)(**vars(self) | update)


def _settings(value: Any, annotation: Any) -> Any:
    if isinstance(value, list):
        return tuple(_settings(each, annotation) for each in value)
    kinds = list(_specs(annotation)) if isinstance(value, dict) else []
    chosen = [kind for kind in kinds if getattr(kind, "kind", None) == value.get("kind")]
    return chosen[0].model_validate(value) if chosen else value


def _specs(annotation: Any) -> Iterator[Any]:
    """The classes of settings in it."""
    if isinstance(annotation, OpenUnion):
        yield from _registered.get(annotation.name, ())
    elif isinstance(annotation, type) and issubclass(annotation, Spec):
        yield annotation
    for part in (*get_args(annotation), *getattr(annotation, "__metadata__", ())):
        yield from _specs(part)


def compiled_lookup(table: Tensor, ids: Tensor) -> Tensor:
    """table (V, T), ids (...) -> (..., T)."""
    return F.embedding(ids, table)
