"""Every choice of a kind that there is in a model, found through the unions, each as a tiny run that makes it."""

import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch

from cogito_ray.base_spec import Spec
from cogito_ray.nn.decoders import DecoderSpec
from cogito_ray.nn.model import ModelSpec
from cogito_ray.objectives import ObjectiveSpec
from cogito_ray.run_spec import RunSpec
from cogito_ray.spec_registry import annotation_of, name_of
from cogito_ray.testing.tiny_runs import LENGTH, SMALL, kinds, merged, needs_of, provided_by, run

TINY = tempfile.TemporaryDirectory()


@cache
def tiny_language_model() -> str:
    """Folder of a random LLaMA that knows the words of VOCABULARY."""
    from transformers import LlamaConfig, LlamaModel  # seconds, which every process that imports this would pay

    config = LlamaConfig(
        vocab_size=64,
        max_position_embeddings=LENGTH,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaModel(config).save_pretrained(TINY.name)
    return TINY.name


SETTINGS: dict[tuple[str, str], Callable[[], dict[str, Any]]] = {
    ("tokens", "pretrained"): lambda: {"model": tiny_language_model(), "frozen": False},
    ("parametrisation", "mup"): lambda: {"base_width": 8, "base_depth": 1, "base_heads": 2},
}
"""What a kind must be told where its defaults do not make a tiny run: (field, kind) -> makes its other settings."""


def choices(spec: type[Spec], place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every (path, kind) that one may choose below a spec."""
    for field, info in spec.model_fields.items():
        known = kinds(annotation_of(info))
        for kind in known:
            yield (*place, field), name_of(kind)
        if isinstance(info.annotation, type) and issubclass(info.annotation, Spec) and not known:
            yield from choices(info.annotation, (*place, field))


def at(place: tuple[str, ...], kind: str) -> dict[str, Any]:
    """{"a": {"b": {"kind": kind}}} for the path a.b."""
    tree: dict[str, Any] = {"kind": kind} | SETTINGS.get((place[-1], kind), dict)()
    for part in reversed(place):
        tree = {part: tree}
    return tree


def fitting(place: tuple[str, ...], kind: str) -> RunSpec:
    """A run with this choice and an objective that gives its decoder what it needs."""
    model = merged(SMALL, at(place, kind))
    decoder = next(spec for spec in kinds(DecoderSpec) if name_of(spec) == model["decoder"]["kind"])
    objective = next(spec for spec in kinds(ObjectiveSpec) if needs_of(decoder) <= provided_by(spec))
    return run(model=at(place, kind), objective={"kind": name_of(objective)})


MODELS = sorted(set(choices(ModelSpec)))
"""Every choice that there is in a model, as paths into it and kinds."""
