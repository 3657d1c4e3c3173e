"""Protocols of document tasks: what frozen vectors predict, beside tf-idf and chance.

retrieval: the cosine of a text's vector with each document's; choice: which option's vector is nearest its document's;
choice-probe: a linear map tells the right option, learned on other documents; extract: see `extraction`. Intervals
resample documents.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from cogito_ray.base_spec import digest
from cogito_ray.evaluation import bootstrap_metrics
from cogito_ray.evaluation.document_encoder import (
    cosines,
    encode_token_windows,
    encode_whole,
    encode_windows,
    tf_idf,
    truncated,
)
from cogito_ray.evaluation.labelled_evaluation_spec import LabelledEvaluationSpec
from cogito_ray.evaluation.protocols.extraction import ExtractSpec
from cogito_ray.evaluation.protocols.linear_probe import FrozenProtocol, bag_of_words, predict
from cogito_ray.evaluation.protocols.task_runner import Question, Result, protocols_of, questions
from cogito_ray.evaluation.sentence_encoder import SentenceEncoder
from cogito_ray.evaluation.tasks.document_tasks import (
    DOCUMENT_TASKS,
    DocumentQuestion,
    DocumentTask,
    MultipleChoice,
    Prepared,
    RetrievalQueries,
    choices_of_options,
    choices_of_verdicts,
    extracted_answers,
    extracted_summaries,
    queries_of_answers,
    queries_of_questions,
)
from cogito_ray.evaluation.tasks.sentence_tasks import tasks_of
from cogito_ray.nn.model import ConceptModel

FOLDS = 5
Floats = NDArray[np.floating]
Predictions = Iterator[tuple[str, dict[str, Floats]]]
"""(vectors, metric -> a value for each question)."""


class RetrievalSpec(FrozenProtocol):
    """Documents are ranked by the cosine of their vectors with that of a text; nothing is trained."""

    kind: Literal["retrieval"] = "retrieval"

    def predictions(self, encoder: SentenceEncoder, questions: RetrievalQueries) -> Predictions:
        """mean: of the concepts of all windows; mean_centred: less the mean of all documents or texts; whole: of
        documents read at once, which a transformer's positions do not reach."""
        texts, documents = (encode_windows(encoder, each).mean() for each in (questions.texts, questions.documents))
        yield "mean", _ranked(cosines(texts, documents), questions)
        centred = (vectors - vectors.mean(axis=0) for vectors in (texts, documents))
        yield "mean_centred", _ranked(cosines(*centred), questions)
        if isinstance(encoder.model, ConceptModel):
            yield "whole", _ranked(cosines(texts, encode_whole(encoder, questions.documents)), questions)
        tokens = (encode_token_windows(encoder, each).mean() for each in (questions.texts, questions.documents))
        yield "token_means", _ranked(cosines(*tokens), questions)
        yield "tf_idf", _ranked(tf_idf(questions.texts, questions.documents), questions)
        count = len(questions.documents)
        chance = {"recall_at_1": 1 / count, "mrr": sum(1 / rank for rank in range(1, count + 1)) / count}
        yield "chance", {metric: np.full(len(questions.right), value) for metric, value in chance.items()}


class ChoiceSpec(FrozenProtocol):
    """The option whose vector is nearest to that of the document is chosen; nothing is trained."""

    kind: Literal["choice"] = "choice"

    def predictions(self, encoder: SentenceEncoder, questions: MultipleChoice) -> Predictions:
        """mean: nearest to the document's mean vector, best_window: nearest to any of its windows."""
        options, read = encode_windows(encoder, _flat(questions)).mean(), encode_windows(encoder, questions.documents)
        yield "mean", _chosen(cosines(options, read.mean()), questions)
        by_document = (read.vectors[read.document == number] for number in range(read.documents))
        nearest = np.stack([cosines(options, vectors).max(axis=1) for vectors in by_document])
        yield "best_window", _chosen(nearest.T, questions)
        tokens = (encode_token_windows(encoder, each).mean() for each in (_flat(questions), questions.documents))
        yield "token_means", _chosen(cosines(*tokens), questions)
        yield "tf_idf", _chosen(tf_idf(_flat(questions), questions.documents), questions)
        yield "chance", _chance(questions)


class ChoiceProbeSpec(FrozenProtocol):
    """A linear map says which option is right, fitted to the questions about other documents (5 folds)."""

    kind: Literal["choice-probe"] = "choice-probe"

    def predictions(self, encoder: SentenceEncoder, questions: MultipleChoice) -> Predictions:
        """Maps of [o; d; |o - d|; o * d] for option o and document d."""
        flat = _flat(questions)
        yield "mean", _probed(lambda texts: encode_windows(encoder, texts).mean(), questions)
        yield "token_means", _probed(lambda texts: encode_token_windows(encoder, texts).mean(), questions)
        yield "bag_of_words", _probed(bag_of_words([*flat, *questions.documents]), questions)
        yield "chance", _chance(questions)


DocumentProtocol = RetrievalSpec | ChoiceSpec | ChoiceProbeSpec | ExtractSpec
PROTOCOLS_OF: dict[Callable[[Sequence[DocumentQuestion]], Prepared], tuple[DocumentProtocol, ...]] = {
    queries_of_answers: (RetrievalSpec(),),
    queries_of_questions: (RetrievalSpec(),),
    choices_of_options: (ChoiceSpec(), ChoiceProbeSpec()),
    choices_of_verdicts: (ChoiceSpec(), ChoiceProbeSpec()),
    extracted_answers: (ExtractSpec(),),
    extracted_summaries: (ExtractSpec(),),
}


@dataclass(frozen=True)
class DocumentTaskQuestion:
    """One task about long texts put in one way; to be asked like a `task_runner.Question`."""

    task: DocumentTask
    protocol: DocumentProtocol
    seed: int = 0

    def pinned(self, data: Path | None) -> Self:
        """Itself: its data are files."""
        return self

    def key(self, data: Path | None) -> str:
        """Digest of the question and of its data. FileNotFoundError names a file that is missing."""
        settings = {"task": self.task.name, "protocol": self.protocol.model_dump(mode="json"), "seed": self.seed}
        return digest(settings | {"data": self.task.digest(data)})

    def faults(self, data: Path | None) -> list[str]:
        """Why the data cannot be asked."""
        try:
            self.task.read(data)
        except (FileNotFoundError, ValueError) as fault:
            return [str(fault)]
        if self.task.question_format is extracted_summaries and find_spec("rouge_score") is None:
            return [f"task {self.task.name} is scored by rouge-score, which is not there; pip install rouge-score"]
        return []

    def ask(self, encoder: SentenceEncoder, data: Path | None) -> list[Result]:
        """Every answer under every metric."""
        encoder = encoder.as_asked(self.protocol.iterations, self.protocol.length)
        questions = self.task.read(data)
        groups = np.array(questions.right if isinstance(questions, RetrievalQueries) else questions.about)
        cut = int(truncated(encoder, questions.documents)[groups].sum())
        return [
            Result(
                task=self.task.name,
                protocol=self.protocol.kind,
                vectors=vectors,
                metric=metric,
                score=bootstrap_metrics.cluster_bootstrap(values, groups),
                examples=len(values),
                truncated=cut,
                rows=digest([self.task.digest(data), groups.tolist()]),
            )
            for vectors, values_of in self._predictions(encoder, questions)
            for metric, values in values_of.items()
        ]

    def _predictions(self, encoder: SentenceEncoder, questions: Prepared) -> Predictions:
        predictions: Callable[[SentenceEncoder, Any], Predictions] = self.protocol.predictions
        return predictions(encoder, questions)


AnyQuestion = Question | DocumentTaskQuestion


def document_questions(tasks: Iterable[DocumentTask]) -> list[DocumentTaskQuestion]:
    """Each task in every way that suits what it puts."""
    return [DocumentTaskQuestion(task, protocol) for task in tasks for protocol in PROTOCOLS_OF[task.question_format]]


def questions_of(asked: LabelledEvaluationSpec) -> list[AnyQuestion]:
    """Every task in every way that suits it; tasks of whole documents have ways of their own. Each with the encoder
    iterated so often, and rows of such lengths, if any are given. ValueError where a protocol is none, or no chance
    enters several seeds."""
    long = [DOCUMENT_TASKS[name] for name in asked.tasks if name in DOCUMENT_TASKS]
    others = tasks_of([name for name in asked.tasks if name not in DOCUMENT_TASKS])
    times, lengths = [{"iterations": n} for n in asked.iterations], [{"length": n} for n in asked.lengths]
    changes = [one | other for one, other in product(times or [{}], lengths or [{}])]
    return [
        *(replace(one, protocol=one.protocol.model_copy(update=change))
          for one in questions(others, protocols_of(asked.asked, asked.limit), asked.seeds) for change in changes),
        *(replace(one, protocol=one.protocol.model_copy(update=change))
          for one in document_questions(long) for change in changes),
    ]  # fmt: skip


def _ranked(similar: Floats, questions: RetrievalQueries) -> dict[str, Floats]:
    """From similarities (Q, documents), per question: is the right document first, and its inverse rank. Documents
    that are equally near share their mean rank."""
    own = similar[np.arange(len(questions.right)), questions.right][:, None]
    ranks = 1 + (similar > own).sum(axis=1) + ((similar == own).sum(axis=1) - 1) / 2
    return {"recall_at_1": (ranks == 1).astype(np.float64), "mrr": 1 / ranks}


def _chosen(similar: Floats, questions: MultipleChoice) -> dict[str, Floats]:
    """From similarities (Q * options, documents): is the right option the nearest to its document?"""
    count = len(questions.options[0])
    own = similar[np.arange(len(similar)), np.repeat(questions.about, count)].reshape(-1, count)
    return _accuracy(own, questions)


def _accuracy(values: Floats, questions: MultipleChoice) -> dict[str, Floats]:
    """From values (Q, options). Options that are equally good share the point."""
    best = values == values.max(axis=1, keepdims=True)
    right = best[np.arange(len(best)), questions.right]
    return {"accuracy": right / best.sum(axis=1)}


def _probed(vectorize: Callable[[Sequence[str]], Floats], questions: MultipleChoice) -> dict[str, Floats]:
    count = len(questions.options[0])
    about = np.repeat(questions.about, count)                                   # (Q * options,)
    options, documents = vectorize(_flat(questions)), vectorize(questions.documents)[about]
    pairs = np.concatenate([options, documents, np.abs(options - documents), options * documents], axis=1)
    if len(questions.documents) < 2:
        raise ValueError(
            "choice-probe learns from other documents than the one it is asked about, but the file holds only one; "
            "put more there, or read the answers of choice"
        )
    right = (np.tile(np.arange(count), len(questions.right)) == np.repeat(questions.right, count)).astype(np.float64)
    predicted = np.zeros(len(pairs))
    for fold in range(FOLDS):
        out = about % FOLDS == fold
        if out.any():
            predicted[out] = predict(pairs[~out], right[~out], pairs[out], graded=True)
    return _accuracy(predicted.reshape(-1, count), questions)


def _chance(questions: MultipleChoice) -> dict[str, Floats]:
    return {"accuracy": np.full(len(questions.right), 1 / len(questions.options[0]))}


def _flat(questions: MultipleChoice) -> list[str]:
    return [option for options in questions.options for option in options]
