"""Linear probes (arXiv:1610.01644): what a linear map reads from frozen vectors, and from words or nothing at all.

Ridge regression and the classifier made of it; the penalty is chosen by leave-one-out on the training split.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cogito_ray.evaluation.reader import TextReader
from cogito_ray.evaluation.tasks import Examples, Task

PENALTIES = np.logspace(-1, 5, 7)
COMMON_WORDS = 300
Features = NDArray[np.floating]
Vectorize = Callable[[Sequence[str]], Features]


def probes(
    reader: TextReader, task: Task, *, train: Examples, scored: Examples
) -> Iterator[tuple[str, NDArray[Any]]]:
    """(name, a prediction for each scored example) of mean concepts, token means, bags of words and the majority."""
    vectorizers: dict[str, Vectorize] = {
        "mean": lambda texts: reader.pooled(texts, "mean"),
        "token_means": reader.token_means,
        "bag_of_words": bag_of_words([*train.one, *(train.two or [])]),
    }
    for name, vectorize in vectorizers.items():
        known, asked = (features(examples, vectorize) for examples in (train, scored))
        yield name, predict(known, train.labels, asked, graded=task.graded)
    yield "majority", np.full(len(scored), majority(train.labels, graded=task.graded))


def features(examples: Examples, vectorize: Vectorize) -> Features:
    """One text: its vector (n, D). Two, a and b: [a; b; |a - b|; a * b] (n, 4D), as in InferSent (arXiv:1705.02364)."""
    a = vectorize(examples.one)
    if examples.two is None:
        return a
    b = vectorize(examples.two)
    return np.concatenate([a, b, np.abs(a - b), a * b], axis=1)


def predict(known: Features, labels: NDArray[Any], asked: Features, *, graded: bool) -> NDArray[Any]:
    """What a map fitted to known (n, F) and labels (n,) says of asked (m, F) -> (m,) classes or grades."""
    from sklearn.linear_model import RidgeClassifierCV, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    ridge = RidgeCV(PENALTIES) if graded else RidgeClassifierCV(PENALTIES)
    return np.asarray(make_pipeline(StandardScaler(), ridge).fit(known, labels).predict(asked))


def bag_of_words(texts: Sequence[str]) -> Vectorize:
    """Which of the most common words of these texts a text holds (n, 300): no model at all."""
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(token_pattern=r"\w+", max_features=COMMON_WORDS, binary=True).fit(texts)
    return lambda asked: np.asarray(counter.transform(asked).toarray(), dtype=np.float32)


def majority(labels: NDArray[Any], *, graded: bool) -> float | int:
    """The most frequent class, or the mean grade."""
    return float(labels.mean()) if graded else int(np.bincount(labels).argmax())
