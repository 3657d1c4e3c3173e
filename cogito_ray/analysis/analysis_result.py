"""The result of analysing one checkpoint, as plain data: what analysis.json holds and its page is made of.

C concepts, P parts of a text, T texts drawn.
"""

from dataclasses import dataclass

from cogito_ray.analysis.thresholds import Assessment, Conclusion
from cogito_ray.analysis.weight_health import MatrixHealth


@dataclass(frozen=True)
class LayerProbes:
    """What the concepts know after one applied block."""

    number: int
    effective_rank: float
    """Mean over texts."""
    probes: dict[str, float]
    """word_content_auc and word_order_accuracy (chance 0.5), length_explained (chance 0)."""


@dataclass(frozen=True)
class AttentionExample:
    """A token that a concept reads more than any other of its text, among its neighbours."""

    before: str
    token: str
    after: str
    share: float


@dataclass(frozen=True)
class ConceptAttention:
    """One concept, by what it reads; means over texts, heads and blocks."""

    number: int
    entropy: float
    """0 = one token, 1 = all tokens alike."""
    centre: float
    """Of what it reads, in shares of the text."""
    std: float
    """Standard deviation within a text, likewise."""
    position_bias: float
    """1 = the same positions whatever the text says."""
    kinds: dict[str, float]
    """Kind of token -> how much more it is read than if all tokens were read alike."""
    top_tokens: list[str]
    """Tokens that it reads more than their due."""
    examples: list[AttentionExample]


@dataclass(frozen=True)
class AttentionMap:
    """What each concept reads of one text."""

    tokens: list[str]
    weights: list[list[float]]
    """(C, tokens)"""


@dataclass(frozen=True)
class Plots:
    """What the page draws."""

    spectrum: list[float]
    """Singular values of a text's concepts over their sum; mean over texts."""
    mean_spectrum: list[float]
    """Those of the mean concepts."""
    cosines: list[list[float]]
    """(C, C) mean over texts."""
    cosine_histogram: list[float]
    """Shares of cosines in equal parts of -1 to 1."""
    positions: list[list[float]]
    """(C, P) what is read where; mean over texts."""
    attention_map: AttentionMap
    pca: list[list[tuple[float, float]]]
    """(C, T) on the first two principal axes of all concepts."""
    pca_variance: list[float]
    """Of the variance, per axis."""


@dataclass(frozen=True)
class DepthMetrics:
    """What a tied encoder reaches when its block is applied `depth` times."""

    depth: int
    trained: bool
    """Is it what it was trained with?"""
    metrics: dict[str, float]


@dataclass(frozen=True)
class Analysis:
    """The whole result."""

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
    assessments: list[Assessment]
    metrics: dict[str, float]
    layers: list[LayerProbes]
    concept_attention: list[ConceptAttention]
    plots: Plots
    iterations: list[DepthMetrics]
    weights: list[MatrixHealth]

    @property
    def changed_by_depth(self) -> list[str]:
        """Metrics that the number of iterations changes."""
        measured = [one.metrics for one in self.iterations]
        return [name for name in (measured[0] if measured else ()) if len({each[name] for each in measured}) > 1]
