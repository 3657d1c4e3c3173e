"""How initial weights, multipliers and rates follow a model's size, so that the best settings do not move with it.

mup is the maximal update parametrisation in width (arXiv:2203.03466; between unlike widths by its spectral form,
arXiv:2310.17813), each width by its own ratio (as arXiv:2512.24617 has it for token and concept modules), and CompleteP
in depth (arXiv:2505.01618). At the base sizes it is the standard parametrisation, bit for bit. What follows for the
rates of each parameter is in `training.parameter_roles`, which reads `Growth`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Protocol, Self, runtime_checkable

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.position_encodings import RotaryPositions
from cogito_ray.nn.token_embedding import Embedding
from cogito_ray.nn.vocabulary_head import VocabularyHead


class StandardSpec(Spec):
    """Initial weights as layers have them; one learning rate for all sizes. The best one falls as models grow."""

    kind: Literal["standard"] = "standard"
    base: ClassVar[None] = None


class MupSpec(Spec):
    """The best learning rate, weight decay and initial weights are those of a model of the base sizes, at any size.

    Base sizes are those at which settings were searched. They stay as they are where a model grows: in full runs, along
    ladders, along an axis over widths.
    """

    kind: Literal["mup"] = "mup"
    base_width: PositiveInt
    base_depth: PositiveInt
    """Of the encoder."""
    base_heads: PositiveInt
    """Let heads grow in number, not in width: narrow heads look less sharply (docs/how-to/full-scale.md)."""
    base_token_width: PositiveInt | None = None
    """None = as wide as concepts."""
    base_decoder_depth: PositiveInt | None = None
    """None = the decoder's depth is not scaled for."""

    @property
    def base(self) -> Self:
        """The base sizes."""
        return self


_FINITE = ("encoder.stage.", "head.own")
"""What reads or writes something of a fixed size."""
ParametrisationSpec = Annotated[StandardSpec | MupSpec, Field(discriminator="kind")]


@dataclass(frozen=True)
class Growth:
    """How many times as large as in the base model a parameter is."""

    axes: tuple[float, ...]
    """Ratio of each axis."""
    depth: float = 1.0
    """Of the stack of residual layers in which it stands."""


@runtime_checkable
class ScalesScores(Protocol):
    """An attention, which multiplies scores of queries and keys by `scale`."""

    heads: int
    query: nn.Linear
    scale: float


@runtime_checkable
class EndsBranch(Protocol):
    """The end of a residual branch, which adds a `share` of it to the stream."""

    share: float


@torch.no_grad()
def parametrise(
    model: nn.Module, base: nn.Module, sizes: Mapping[int, float], depths: Mapping[str, float]
) -> dict[str, Growth]:
    """Give `model` the initial weights and multipliers of mup -> how each parameter has grown, by name.

    base: the same model at its base sizes. sizes: ratios by width, for layers between widths that are equal there and
    unlike here, which the base does not have. depths: ratios by the path of each stack of residual layers.
    """
    growth = _growth(model, base, sizes, depths)
    axes: dict[Tensor, tuple[float, ...]] = {each: growth[name].axes for name, each in model.named_parameters()}
    parts = dict(base.named_modules())
    for path, part in model.named_modules():
        if isinstance(part, nn.Linear | nn.RNNCellBase):
            _start_biases(part, axes)
        if isinstance(part, nn.Linear) and not path.startswith(_FINITE):
            written, read = axes[part.weight]
            there = [part.out_features / written, part.in_features / read]
            part.weight.mul_(_narrowing(*part.weight.shape) / _narrowing(*there))
        if isinstance(part, RotaryPositions):
            part.constant.mul_(axes[part.constant][0] ** 0.5)
        if isinstance(part, Embedding):
            drawn, part.scale = part.scale, parts[path].scale
            part.token.weight.mul_(drawn / part.scale)
        if isinstance(part, VocabularyHead):
            _scale_head(part, parts[path].narrow, axes[part.weight][1])
        if isinstance(part, ScalesScores):
            of_base = parts[path]
            part.scale = of_base.scale * _head_width(of_base) / _head_width(part)
        if isinstance(part, EndsBranch):
            part.share = 1 / _depth(path, depths)
    return growth


def _growth(
    model: nn.Module, base: nn.Module, sizes: Mapping[int, float], depths: Mapping[str, float]
) -> dict[str, Growth]:
    shapes = {name: parameter.shape for name, parameter in base.named_parameters()}
    growth = {}
    for name, parameter in model.named_parameters():
        if name in shapes:
            axes = tuple(here / there for here, there in zip(parameter.shape, shapes[name], strict=True))
        else:
            axes = tuple(sizes.get(here, 1.0) for here in parameter.shape)
        growth[name] = Growth(axes, _depth(name, depths))
    return growth


def _depth(path: str, depths: Mapping[str, float]) -> float:
    return next((ratio for stack, ratio in depths.items() if path.startswith(f"{stack}.")), 1.0)


def _start_biases(layer: nn.Module, axes: Mapping[Tensor, tuple[float, ...]]) -> None:
    """Torch draws biases from the range of weights, which falls with the root of the width that is read."""
    own = list(layer.parameters(recurse=False))
    read = next(axes[parameter][1] for parameter in own if parameter.ndim > 1)
    for parameter in own:
        if parameter.ndim == 1:
            parameter.mul_(read**0.5)


def _narrowing(written: float, read: float) -> float:
    """A layer that writes fewer numbers than it reads passes on what many have learned alike: it starts smaller, by the
    root of their ratio (arXiv:2310.17813)."""
    return min(1.0, written / read) ** 0.5


def _scale_head(head: VocabularyHead, narrow_there: nn.Module, read: float) -> None:
    """Scores are sums over the width of the table, of what comes to point the same way."""
    head.multiplier = 1 / read
    if head.own is not None:
        head.own.weight.mul_(read**0.5)
    elif isinstance(narrow_there, nn.Linear) and not isinstance(head.narrow, nn.Linear):
        head.multiplier /= _narrowing(*narrow_there.weight.shape)


def _head_width(attention: ScalesScores) -> float:
    return attention.query.out_features / attention.heads
