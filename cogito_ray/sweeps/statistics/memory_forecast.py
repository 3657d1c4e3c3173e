"""What memory a run will take, from its shapes alone, corrected by what other runs of its sweep took. Pure.

Weights, gradients and Adam's two moments of each block, and the activations that each keeps for its backward pass
(arXiv:2205.05198 counts 34 bytes a token, width and layer at half precision). What that leaves out, such as the
vocabulary, kernels and activation checkpointing, is in the correction: trials of a sweep have most of it in common.
"""

from dataclasses import dataclass, field
from statistics import median

from cogito_ray.sweeps.space.dotted_paths import Tree, get

STATE_BYTES, ACTIVATION_BYTES = 16, 68
"""Of a parameter, and of a token in a layer for each channel, in single precision."""
OUT_OF_MEMORY = "out of memory"
"""How the cause of such a death begins."""
SIGNS = ("MemoryError", "running low on memory", "can't allocate memory")
"""In errors of Python, CUDA, Ray's memory monitor and torch on CPUs. A process that the kernel kills leaves none."""


def lacks_memory(fault: str) -> bool:
    """Does this error say that memory ran out?"""
    return any(sign in fault for sign in SIGNS)


def estimate(run: Tree) -> float:
    """Bytes of one worker of a run with every setting written out, uncorrected."""
    width, layers = _number(run, "model.width"), _number(run, "model.encoder.depth") + 1
    workers = get(run, "workers.max") or get(run, "workers") or 1
    rows = _number(run, "training.micro_batch") or _number(run, "training.batch") / float(str(workers))
    weights = layers * width**2 * (4 + 2 * _number(run, "model.expansion"))
    tokens = rows * (_number(run, "data.length") + _number(run, "model.concepts"))
    return STATE_BYTES * weights + ACTIVATION_BYTES * tokens * width * layers


def _number(run: Tree, path: str) -> float:
    return float(str(get(run, path) or 0))


@dataclass
class MemoryForecast:
    """What trials took so far, and which died of it."""

    limit: float | None = None
    """Bytes that a worker may take; None = what the machine has."""
    _ratios: dict[str, float] = field(default_factory=dict)
    _dead: dict[str, float] = field(default_factory=dict)

    def measured(self, trial: str, run: Tree, peak: float) -> None:
        """A trial has held so many bytes."""
        self._ratios[trial] = peak / estimate(run)

    def died(self, trial: str, run: Tree) -> None:
        """It ran out of memory."""
        self._dead[trial] = estimate(run)

    def forecast(self, run: Tree) -> float:
        """Bytes."""
        return estimate(run) * (median(self._ratios.values()) if self._ratios else 1.0)

    def refusal(self, run: Tree) -> str:
        """Why it cannot fit; empty where it may."""
        expected = self.forecast(run)
        if self.limit is not None and expected > self.limit:
            return f"{OUT_OF_MEMORY}: would take about {expected / 1e9:.3g} GB of {self.limit / 1e9:.3g}"
        if (alike := next((name for name, size in self._dead.items() if estimate(run) >= size), None)) is not None:
            return f"{OUT_OF_MEMORY}: would take as much as trial {alike}, which died of it"
        return ""
