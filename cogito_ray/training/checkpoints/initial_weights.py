"""Initial weights: a run takes its first weights from a checkpoint, exactly those it names, or none.

Whatever is missing, left over or of another shape in the parts that are asked for is an error which lists it; nothing
is loaded as far as it fits. Positions and other tables that are computed, not learned, stay the new model's own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from cogito_ray.base_spec import Spec
from cogito_ray.nn.concept_pooling import Classifier, PairClassifier
from cogito_ray.nn.encoder import Encoder
from cogito_ray.nn.interop import legacy_checkpoint
from cogito_ray.nn.model import Resizable
from cogito_ray.nn.position_encodings import SinusoidalPositions, interpolated
from cogito_ray.training.checkpoints.checkpoint_store import State, named_weights
from cogito_ray.training.checkpoints.manifest import WEIGHTS, BadCheckpoint, sha256, verify

PREFIXES = {"encoder": ("model.encoder.",), "decoder": ("model.decoder.", "model.head.")}
LATENTS = "model.encoder.latents."
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
BLOCK = re.compile(r"model\.encoder\.blocks\.(\d+)\.(.*)")
Weights = Mapping[str, Tensor]
NAME_LENGTH = 16
"""Hex digits of a SHA-256 that name weights."""


class _InitialWeightsSpec(Spec):
    """Which parts of which checkpoint are loaded."""

    on_hub: ClassVar[bool] = False
    """Might `folder` name a repository of the Hub?"""
    folder: str
    """The checkpoint, as an absolute path: workers start in folders of their own. Of the kind seed, or OWNER/NAME."""
    parts: tuple[Literal["encoder"]] | tuple[Literal["encoder"], Literal["decoder"]]
    """What is loaded, whole: [encoder], or [encoder, decoder] with the decoder's head. The rest starts at random."""
    tie: Literal["mean", "first"] | None = None
    """How the blocks of an untied encoder become the one of a tied encoder: their mean, or the first of them."""
    positions: Literal["exact", "stretch"] = "exact"
    """stretch: rows had another length there. Learned tables are interpolated, concepts moved to where they stand in a
    row of this length; sinusoidal positions are computed anew and rotary ones stay."""

    @field_validator("folder")
    @classmethod
    def _is_absolute(cls, folder: str) -> str:
        if not PurePath(folder).is_absolute() and not (cls.on_hub and HUB_NAME.fullmatch(folder)):
            raise ValueError(f"{folder!r} is relative, but workers start in folders of their own; write the whole path")
        return folder

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Beginnings of the names of what is loaded."""
        return tuple(prefix for part in self.parts for prefix in PREFIXES[part])


class FromCheckpointSpec(_InitialWeightsSpec):
    """One of our checkpoints: a folder step-..."""

    kind: Literal["checkpoint"] = "checkpoint"

    @property
    def file(self) -> Path:
        """That holds the weights."""
        return Path(self.folder) / WEIGHTS

    def origin(self) -> str:
        """Names its weights. BadCheckpoint unless they are whole."""
        return verify(self.file.parent, [WEIGHTS])[WEIGHTS][:NAME_LENGTH]

    @property
    def tokenizer(self) -> str:
        """Digest of the one it was trained with; empty where it does not say."""
        data = State.read(self.file.parent).data
        return data.tokenizer if data else ""

    @property
    def multipliers(self) -> str:
        """Names those of the model it was trained as; empty where there were none."""
        return State.read(self.file.parent).multipliers

    def read(self) -> Weights:
        """Of the whole TotalLoss, under its names."""
        return named_weights(self.file)


class FromSeedSpec(_InitialWeightsSpec):
    """A checkpoint of the group's earlier implementation: a folder with config.json and its weights."""

    kind: Literal["seed"] = "seed"
    on_hub: ClassVar[bool] = True
    reads: Literal["position", "perceiver"] | None = None
    """What its decoder reads, where the checkpoint cannot tell: positions alone, or positions and tokens."""

    @property
    def file(self) -> Path:
        """That holds the weights."""
        return legacy_checkpoint.weights_file(_fetched(self.folder))

    def origin(self) -> str:
        """Names its weights. FileNotFoundError where there are none."""
        return sha256(self.file)[:NAME_LENGTH]

    @property
    def tokenizer(self) -> str:
        """It does not say."""
        return ""

    @property
    def multipliers(self) -> str:
        """There were none."""
        return ""

    def read(self) -> Weights:
        """Of the whole TotalLoss, under our names. ValueError where a key is missing or left over."""
        loaded = legacy_checkpoint.load(self.file.parent, self.reads)
        model = loaded.get_submodule("model") if isinstance(loaded, Classifier | PairClassifier) else loaded
        return {f"model.{name}": weight for name, weight in model.state_dict(keep_vars=True).items()}


@cache
def _fetched(name: str) -> Path:
    """A folder, or that of a repository on the Hub, as its main branch is now. OSError where it cannot be had."""
    if PurePath(name).is_absolute():
        return Path(name)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, allow_patterns=["config.json", "*.safetensors", "*.bin"]))


StartFromSpec = Annotated[FromCheckpointSpec | FromSeedSpec, Field(discriminator="kind")]


@dataclass(frozen=True)
class InitialWeights:
    """Weights to begin with, and where they come from."""

    spec: FromCheckpointSpec | FromSeedSpec
    weights: Weights
    origin: str
    """Names them."""

    @classmethod
    def read(cls, spec: FromCheckpointSpec | FromSeedSpec, *, expected: str | None = None) -> "InitialWeights":
        """Raises ValueError, naming the file, where there is no whole checkpoint, or not the one of this name."""
        found = spec.origin()
        if expected not in (None, found):
            raise BadCheckpoint(f"{spec.file}: this worker sees weights {found}, but the first one has {expected}")
        return cls(spec, spec.read(), found)

    def faults(self, module: nn.Module) -> list[str]:
        """What keeps the weights from being loaded into `module`, a TotalLoss; one message each."""
        wanted, offered = _parameters(module, self.spec.prefixes), self._offered(module)
        if misused := self._tie_faults(module):
            return misused
        tables = self._table_faults(module)
        missing = [f"missing: {name} {_shape(wanted[name])}" for name in sorted(wanted.keys() - offered.keys())]
        surplus = [f"left over: {name} {_shape(offered[name][0])}" for name in sorted(offered.keys() - wanted.keys())]
        misfits = [
            f"{name}: {_shape(offered[name][0])} there, {_shape(wanted[name])} here"
            for name in sorted(wanted.keys() & offered.keys())
            if offered[name][0].shape != wanted[name].shape
        ]
        return missing + surplus + misfits + tables

    def load(self, module: nn.Module) -> str:
        """Into `module`, a TotalLoss; says what was loaded and what was not. ValueError, listing all, on a misfit."""
        if faults := self.faults(module):
            raise ValueError("\n".join([f"start_from {self.spec.folder} does not fit this run's model:", *faults]))
        wanted, offered = _parameters(module, self.spec.prefixes), self._offered(module)
        with torch.no_grad():
            for name, parameter in wanted.items():
                parameter.copy_(torch.stack([weight.float() for weight in offered[name]]).mean(dim=0))
        loaded = {id(parameter) for parameter in wanted.values()}
        fresh = {name: p for name, p in module.named_parameters() if id(p) not in loaded}
        unused = sorted(name for name in self.weights if not name.startswith(self.spec.prefixes))
        known = sum(p.numel() for p in {id(p): p for p in wanted.values()}.values())
        return (
            f"started from {self.spec.folder} (sha256 {self.origin}): loaded {' and '.join(self.spec.parts)}, "
            f"{len(loaded)} tensors of {known} numbers{_tied(self.spec.tie)}; at random: {_listed(fresh)}; "
            f"not taken: {_listed(unused)}"
        )

    def _offered(self, module: nn.Module) -> dict[str, list[Tensor]]:
        """What to average for each parameter; more than one tensor only where blocks become one."""
        learned = {name: w for name, w in self.weights.items() if name.startswith(self.spec.prefixes)}
        offered: dict[str, list[Tensor]] = {}
        tables = {name for name, _ in module.named_buffers(remove_duplicate=False)}
        for name, weight in learned.items():
            block = BLOCK.fullmatch(name) if self.spec.tie else None
            if block and self.spec.tie == "first" and int(block[1]) > 0:
                continue
            target = f"model.encoder.blocks.0.{block[2]}" if block else name
            if target not in tables:
                offered.setdefault(target, []).append(weight)
        return offered if self.spec.positions == "exact" else self._stretched(offered, module)

    def _stretched(self, offered: dict[str, list[Tensor]], module: nn.Module) -> dict[str, list[Tensor]]:
        """The same for rows of the length that `module` has."""
        for name, ours in _parameters(module, self.spec.prefixes).items():
            if _belongs_to_positions(module, name) and ours.ndim == 2 and name in offered:
                offered[name] = [interpolated(weight.float(), len(ours)) for weight in offered[name]]
        encoder, centres = module.get_submodule("model.encoder"), self.weights.get(f"{LATENTS}centres")
        if (vectors := f"{LATENTS}vectors") in offered and centres is not None:
            assert isinstance(encoder, Encoder)
            offered[vectors] = [weight + _moved(encoder, centres, weight.shape[1]) for weight in offered[vectors]]
        return offered

    def _table_faults(self, module: nn.Module) -> list[str]:
        """Tables that are computed here, but not like those there: learned ones, or of other places."""
        return [
            f"{name}: computed here, but with other values there; is it learned there, or for rows of another length "
            "(positions: stretch)?"
            for name, table in module.named_buffers(remove_duplicate=False)
            if (theirs := self.weights.get(name)) is not None
            and name.startswith(self.spec.prefixes)
            and table.ndim == 2
            and not (self.spec.positions == "stretch" and _belongs_to_positions(module, name))
            and not _alike(table, theirs)
        ]

    def _tie_faults(self, module: nn.Module) -> list[str]:
        theirs, ours = _blocks(self.weights), _blocks(_parameters(module, PREFIXES["encoder"]))
        if self.spec.tie and (ours > 1 or theirs == 1):
            return [f"tie makes one block of several, but there are {theirs} there and {ours} here; leave it out"]
        if not self.spec.tie and ours == 1 < theirs:
            return [f"{theirs} blocks there, one here: say how they become one, tie: mean or tie: first"]
        return []


def origin(spec: FromCheckpointSpec | FromSeedSpec | None) -> str:
    """Sixteen hex digits of the SHA-256 of the weights that a run starts from; none where it starts at random, or where
    they are gone."""
    try:
        return sha256(spec.file)[:NAME_LENGTH] if spec else ""
    except (FileNotFoundError, ValueError):
        return ""


def _parameters(module: nn.Module, prefixes: tuple[str, ...]) -> dict[str, nn.Parameter]:
    named = module.named_parameters(remove_duplicate=False)
    return {name: parameter for name, parameter in named if name.startswith(prefixes)}


def _belongs_to_positions(module: nn.Module, name: str) -> bool:
    return isinstance(module.get_submodule(name.rpartition(".")[0]), Resizable)


def _moved(encoder: Encoder, centres: Tensor, width: int) -> Tensor:
    """centres (C,) of segments of rows there -> (C, width) codes of where concepts stand here, less those of where they
    stood; 0 where concepts are others, or codes stand beside what is learned, or are learned and stretched along."""
    latents, positions, here = encoder.latents, encoder.embedding.positions, encoder.latents.centres
    if here is None or len(here) != len(centres) or latents.codes is not None:
        return torch.zeros(width)
    if not isinstance(positions, SinusoidalPositions):
        return torch.zeros(width)
    length = round(float(2 * len(centres) * (centres[0] + 0.5)))
    return positions.code(here, width) - positions.at_length(length).code(centres, width)


def _blocks(weights: Mapping[str, object]) -> int:
    return len({match[1] for name in weights if (match := BLOCK.fullmatch(name))})


def _alike(one: Tensor, two: Tensor) -> bool:
    """Equal in the rows (*, D) that both have?"""
    common = min(len(one), len(two))
    return one.shape[1:] == two.shape[1:] and torch.allclose(one[:common], two[:common], atol=1e-4)


def _shape(weight: Tensor) -> str:
    return "x".join(map(str, weight.shape)) or "scalar"


def _tied(tie: str | None) -> str:
    return f" ({tie} of the blocks)" if tie else ""


def _listed(names: Mapping[str, object] | list[str]) -> str:
    return ", ".join(names) or "nothing"
