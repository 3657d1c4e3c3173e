"""What an analysis of one checkpoint tells, as plain data: what analysis.json holds and its page is made of.

C concepts, P parts of a text, T texts drawn.
"""

from dataclasses import dataclass

from cogito_ray.analysis.thresholds import Conclusion, Finding


@dataclass(frozen=True)
class Layer:
    """What the concepts know after one applied block."""

    number: int
    effective_rank: float
    """Mean over texts."""
    probes: dict[str, float]
    """word_content_auc and word_order_accuracy (chance 0.5), length_explained (chance 0)."""


@dataclass(frozen=True)
class Example:
    """A token that a concept reads more than any other of its text, among its neighbours."""

    before: str
    token: str
    after: str
    share: float


@dataclass(frozen=True)
class Reader:
    """One concept, by what it reads; means over texts, heads and blocks."""

    number: int
    entropy: float
    """0 = one token, 1 = all tokens alike."""
    centre: float
    """Of what it reads, in shares of the text."""
    spread: float
    """Standard deviation within a text, likewise."""
    place_bias: float
    """1 = the same places whatever the text says."""
    kinds: dict[str, float]
    """Kind of token -> how much more it is read than if all tokens were read alike."""
    favourites: list[str]
    """Tokens that it reads more than their due."""
    examples: list[Example]


@dataclass(frozen=True)
class Affinity:
    """What each concept reads of one text."""

    tokens: list[str]
    shares: list[list[float]]
    """(C, tokens)"""


@dataclass(frozen=True)
class Pictures:
    spectrum: list[float]
    """Singular values of a text's concepts over their sum; mean over texts."""
    mean_spectrum: list[float]
    """Those of the mean concepts."""
    cosines: list[list[float]]
    """(C, C) mean over texts."""
    cosine_histogram: list[float]
    """Shares of cosines in equal parts of -1 to 1."""
    places: list[list[float]]
    """(C, P) what is read where; mean over texts."""
    affinity: Affinity
    plane: list[list[tuple[float, float]]]
    """(C, T) on the first two principal axes of all concepts."""
    plane_shares: list[float]
    """Of the variance, per axis."""


@dataclass(frozen=True)
class Iteration:
    """What a tied encoder reaches when its block is applied so many times."""

    times: int
    trained: bool
    """Is it what it was trained with?"""
    metrics: dict[str, float]


@dataclass(frozen=True)
class Analysis:
    name: str
    run: str
    """Digest of its RunSpec."""
    step: int
    texts: int
    length: int
    """Tokens of a text."""
    concepts: int
    width: int
    conclusion: Conclusion
    findings: list[Finding]
    figures: dict[str, float]
    layers: list[Layer]
    readers: list[Reader]
    pictures: Pictures
    iterations: list[Iteration]

    @property
    def iterated(self) -> list[str]:
        """Metrics that the number of iterations changes."""
        told = [one.metrics for one in self.iterations]
        return [name for name in (told[0] if told else ()) if len({metrics[name] for metrics in told}) > 1]
