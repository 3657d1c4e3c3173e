"""Similarity without training: the cosine of two texts' vectors against human grades (SentEval, arXiv:1803.05449)."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cogito_ray.evaluation.bootstrap_metrics import value_of
from cogito_ray.evaluation.frozen_concepts import encode, token_means
from cogito_ray.evaluation.protocols.linear_probe import WORD, FrozenProtocol
from cogito_ray.evaluation.sentence_encoder import SentenceEncoder
from cogito_ray.evaluation.tasks.sentence_tasks import TASKS, Examples, Task, read_file
from cogito_ray.nn.model import ConceptModel
from cogito_ray.text.tokenizer import TextTokenizer

PAIRS_AT_ONCE = 512
WHITENED = ("mean", "token_means")
"""Vectors that are also compared after whitening, which lifts some more than others."""


class ZeroShotSpec(FrozenProtocol):
    """The cosine of two texts' vectors is the prediction of their grade."""

    kind: Literal["zero-shot"] = "zero-shot"

    def suits(self, task: Task) -> bool:
        """A cosine is a grade of two texts, and no class."""
        return task.graded and len(task.texts) == 2

    def splits(self, task: Task) -> tuple[str, ...]:
        """Nothing is trained: the train split need not be there."""
        return (task.scored,)

    def predictions(
        self, encoder: SentenceEncoder, task: Task, splits: Mapping[str, Examples], seed: int
    ) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """(pooling or baseline, a cosine for each scored example)."""
        scored = splits[task.scored]
        yield from similarities(encoder, scored).items()
        yield "majority", np.zeros(len(scored))


def cosines(one: NDArray[np.floating], two: NDArray[np.floating]) -> NDArray[np.float64]:
    """Of the rows of (n, D) and (n, D) -> (n,); 0 where a vector is 0."""
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    products = np.einsum("nd,nd->n", one.astype(np.float64), two.astype(np.float64))
    cosine: NDArray[np.float64] = products / np.where(norms > 0, norms, np.inf)
    return cosine


def similarities(encoder: SentenceEncoder, examples: Examples) -> dict[str, NDArray[np.float64]]:
    """Cosine of each pair (n,) under every pooling of concepts, of token means, weighed by inverse frequency or not, of
    word counts and of tf-idf; `*_whitened` by the examples' own texts."""
    weights = encoder.inverse_frequencies([*examples.one, *(examples.two or [])])

    def vectors_of(texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        means = {"token_means": encoder.token_means(texts), "weighted_token_means": encoder.token_means(texts, weights)}
        return {**encoder.poolings(texts, encoder.pooling_names), **means}

    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

    by_words = {
        "bag_of_words": CountVectorizer(token_pattern=WORD),
        "tf_idf": TfidfVectorizer(token_pattern=WORD, sublinear_tf=True),
    }
    return _by_pairs(examples, vectors_of) | {name: _of_words(each, examples) for name, each in by_words.items()}


def _by_pairs(
    examples: Examples,
    vectors_of: Callable[[Sequence[str]], Mapping[str, NDArray[np.float32]]],
    others: Mapping[str, NDArray[np.float32]] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """A few at a time: vectors of all concepts are long. others: vectors (n, D) of other texts."""
    two, cosines_of, kept = examples.two or [], defaultdict(list), defaultdict(list)
    for start in range(0, len(examples), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        ours, theirs = vectors_of(examples.one[part]), vectors_of(two[part])
        for name in ours:
            cosines_of[name].append(cosines(ours[name], theirs[name]))
            if name in WHITENED:
                kept[name].append(np.stack([ours[name], theirs[name]]))         # (2, n, D)
    white = {f"{name}_whitened": [cosines(*whitened(np.concatenate(p, axis=1)))] for name, p in kept.items()}
    white |= {
        f"{name}_whitened_by_corpus": [cosines(*whitened(np.concatenate(kept[name], axis=1), by))]
        for name, by in (others or {}).items()
    }
    return {name: np.concatenate(parts) for name, parts in (cosines_of | white).items()}


def whitened(vectors: NDArray[np.floating], by: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
    """vectors (..., D) -> (..., K), centred, uncorrelated and of equal variance over all of them (arXiv:2103.15316), in
    the K <= D directions in which they vary; or as it makes others, `by` (n, D), so."""
    others = (vectors if by is None else by).reshape(-1, vectors.shape[-1]).astype(np.float64)
    mean = others.mean(axis=0)
    rows = others - mean
    variances, axes = np.linalg.eigh(rows.T @ rows / len(rows))                 # (D,), (D, D)
    vary = variances > 1e-9 * variances.max(initial=0.0)
    white: NDArray[np.float64] = (vectors - mean) @ (axes[:, vary] / np.sqrt(variances[vary]))
    return white


def _of_words(vectorizer: Any, examples: Examples) -> NDArray[np.float64]:
    """Cosine of the vectors of words that scikit-learn makes of these texts: what shared words alone tell."""
    from sklearn.preprocessing import normalize

    vectorizer.fit([*examples.one, *(examples.two or [])])
    one, two = (normalize(vectorizer.transform(texts)) for texts in (examples.one, examples.two or []))
    return np.asarray(one.multiply(two).sum(axis=1)).ravel()


def read_stsb(folder: str) -> Examples:
    """STS-B's development set (arXiv:1708.00055) from validation.parquet there. FileNotFoundError or ValueError name
    what is missing."""
    return read_file(TASKS["stsb"], Path(folder) / "validation.parquet")


class Stsb:
    """STS-B's development set, read once, asked of any model."""

    def __init__(self, folder: str, tokenizer: TextTokenizer, length: int, pieces: Tensor):
        """pieces (P, K): ids of other texts. Errors as in `read_stsb`."""
        self.examples = read_stsb(folder)
        self.tokenizer, self.length, self.pieces = tokenizer, length, pieces

    def __call__(self, model: ConceptModel) -> dict[str, float]:
        """Spearman correlation of grades with cosines of mean concepts and of token means, plain, whitened by the set's
        own texts and by others; 0 where all are equal."""
        encoder = SentenceEncoder(model, self.tokenizer, self.length)

        def vectors_of(texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
            return {"mean": encoder.pooled(texts, "mean"), "token_means": encoder.token_means(texts)}

        pad_id, grades = self.tokenizer.vocabulary.pad_id, self.examples.labels
        others = {
            "mean": encode(model, self.pieces, pad_id).mean(dim=1).numpy(),
            "token_means": token_means(model, self.pieces, pad_id).numpy(),
        }
        told = _by_pairs(self.examples, vectors_of, others)
        return {f"eval/stsb_spearman_{name}": value_of("spearman", grades, each) for name, each in told.items()}
