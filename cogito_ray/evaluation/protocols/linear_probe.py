"""Linear probes (arXiv:1610.01644): what a linear map reads from frozen vectors, and from words or nothing at all.

Ridge regression and the classifier made of it; the penalty is chosen by leave-one-out on the training split.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from cogito_ray.evaluation.labelled_evaluation_spec import AskedSpec
from cogito_ray.evaluation.sentence_encoder import SentenceEncoder
from cogito_ray.evaluation.tasks.sentence_tasks import Examples, Task

PENALTIES = np.logspace(-1, 5, 7)
COMMON_WORDS = 300
WORD = r"\w+"
"""What counts as a word."""
Features = NDArray[np.floating]
Vectorize = Callable[[Sequence[str]], Features]


class FrozenProtocol(AskedSpec):
    """A protocol that asks the vectors of a frozen encoder."""

    seeded: ClassVar[bool] = False
    """Does chance enter?"""
    together: ClassVar[bool] = False
    """Do two texts share a row?"""

    def faults(self, *, decodes: bool) -> list[str]:
        """Why a model cannot be asked: frozen vectors every model has."""
        return []


class ProbeSpec(FrozenProtocol):
    """A linear map of frozen vectors, fitted to the training split."""

    kind: Literal["probe"] = "probe"
    rows: PositiveInt = 5000
    """Training examples, at most, the same for every model."""

    def suits(self, task: Task) -> bool:
        """Any labelled task with a training split."""
        return bool(task.train)

    def splits(self, task: Task) -> tuple[str, ...]:
        """Names of the splits that are read."""
        return (task.train, task.scored)

    def predictions(
        self, encoder: SentenceEncoder, task: Task, splits: Mapping[str, Examples], seed: int
    ) -> Iterator[tuple[str, NDArray[Any]]]:
        """(name, a prediction for each scored example) of mean concepts and token means, then of baselines."""
        known, scored = splits[task.train].some(self.rows), splits[task.scored]
        yield "mean", _probe(lambda texts: encoder.pooled(texts, "mean"), task, train=known, scored=scored)
        yield "token_means", _probe(encoder.token_means, task, train=known, scored=scored)
        yield from baselines(task, train=known, scored=scored)


def baselines(task: Task, *, train: Examples, scored: Examples) -> Iterator[tuple[str, NDArray[Any]]]:
    """What no model at all says: linear maps of bags of words and of tf-idf, and the majority."""
    words = bag_of_words([*train.one, *(train.two or [])])
    yield "bag_of_words", _probe(words, task, train=train, scored=scored)
    yield "tf_idf", _tf_idf(task, train=train, scored=scored)
    yield "majority", np.full(len(scored), majority(train.labels, graded=task.graded))


def _probe(vectorize: Vectorize, task: Task, *, train: Examples, scored: Examples) -> NDArray[Any]:
    fitted, unseen = (features(examples, vectorize) for examples in (train, scored))
    return predict(fitted, train.labels, unseen, graded=task.graded)


def features(examples: Examples, vectorize: Vectorize) -> Features:
    """One text: its vector (n, D). Two, a and b: [a; b; |a - b|; a * b] (n, 4D), as in InferSent (arXiv:1705.02364)."""
    a = vectorize(examples.one)
    if examples.two is None:
        return a
    b = vectorize(examples.two)
    return np.concatenate([a, b, np.abs(a - b), a * b], axis=1)


def predict(fitted: Features, labels: NDArray[Any], unseen: Features, *, graded: bool) -> NDArray[Any]:
    """What a map fitted to features (n, F) and labels (n,) predicts of unseen ones (m, F): (m,) classes or grades."""
    from sklearn.linear_model import RidgeClassifierCV, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    ridge = RidgeCV(PENALTIES) if graded else RidgeClassifierCV(PENALTIES)
    return np.asarray(make_pipeline(StandardScaler(), ridge).fit(fitted, labels).predict(unseen))


def bag_of_words(texts: Sequence[str]) -> Vectorize:
    """Which of the most common words of these texts a text holds (n, 300): no model at all."""
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(token_pattern=WORD, max_features=COMMON_WORDS, binary=True).fit(texts)
    return lambda texts: np.asarray(counter.transform(texts).toarray(), dtype=np.float32)


def _tf_idf(task: Task, *, train: Examples, scored: Examples) -> NDArray[Any]:
    """A linear map of all words and pairs of neighbouring words, weighed by their rarity: what a probe of a model must
    beat. Its penalty is fixed: one chosen by folds moved none of the tasks by more than a point."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge

    words = TfidfVectorizer(token_pattern=WORD, ngram_range=(1, 2), sublinear_tf=True)
    words.fit([*train.one, *(train.two or [])])
    fitted, unseen = (_sparse_features(examples, words.transform) for examples in (train, scored))
    if not task.graded and len(np.unique(train.labels)) < 2:
        return np.full(len(scored), majority(train.labels, graded=False))
    model = Ridge(alpha=1.0) if task.graded else LogisticRegression(C=10, max_iter=1000)
    return np.asarray(model.fit(fitted, train.labels).predict(unseen))


def _sparse_features(examples: Examples, vectorize: Callable[[Sequence[str]], Any]) -> Any:
    """As `features`, of vectors that are mostly 0."""
    from scipy.sparse import hstack

    a = vectorize(examples.one)
    if examples.two is None:
        return a
    b = vectorize(examples.two)
    return hstack([a, b, abs(a - b), a.multiply(b)]).tocsr()


def majority(labels: NDArray[Any], *, graded: bool) -> float | int:
    """The most frequent class, or the mean grade."""
    return float(labels.mean()) if graded else int(np.bincount(labels).argmax())
