"""Packages of Triton kernels, which are installed on CUDA machines only."""

from functools import cache
from importlib import import_module, util
from typing import Any

import torch

_INSTALL = {
    "liger": "pip install 'cogito-ray[cuda]'",
    "cut": "pip install 'cut-cross-entropy @ git+https://github.com/apple/ml-cross-entropy'",   # PyPI's lacks a bias
}


def installed(package: str) -> bool:
    """Whether it can be imported, without doing so."""
    return util.find_spec(package) is not None


def interpreted() -> bool:
    """Whether kernels run by Triton's interpreter (TRITON_INTERPRET=1), for which any device will do."""
    return installed("triton") and bool(import_module("triton").knobs.runtime.interpret)


def imported(module: str, *, kind: str, device: torch.device) -> Any:
    """The module, for a head whose loss is of this kind. ValueError where it is not installed, or cannot run on the
    device."""
    found = _module(module, kind)
    if device.type != "cuda" and not interpreted():
        raise ValueError(f"model.head.loss '{kind}' needs a CUDA device, but the model is on '{device}'; use 'auto'")
    return found


@cache
def _module(module: str, kind: str) -> Any:
    package = module.partition(".")[0]
    if not installed(package):
        raise ValueError(
            f"model.head.loss '{kind}' needs the package {package}, which is not installed here: {_INSTALL[kind]}, or "
            "use 'auto'"
        )
    return import_module(module)
