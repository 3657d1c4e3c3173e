"""Extraction: answers and summaries made of a document's own sentences, those that are nearest to what is asked.

Encoders write no text: what they select is scored as if they had written it, by the metrics of SCROLLS
(arXiv:2201.03533): F1 of words (SQuAD, arXiv:1606.05250) and ROUGE (W04-1013). What extraction can reach, as far as a
greedy choice by the answers tells, stands beside it as `oracle`.
"""

import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cogito_ray.evaluation.document_encoder import LONGEST, cosines, encode_token_windows, encode_windows, tf_idf
from cogito_ray.evaluation.protocols.linear_probe import FrozenProtocol
from cogito_ray.evaluation.sentence_encoder import SentenceEncoder
from cogito_ray.evaluation.tasks.document_tasks import Extraction

Floats = NDArray[np.floating]
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
ARTICLE, PUNCTUATION = re.compile(r"\b(a|an|the)\b"), str.maketrans("", "", string.punctuation)
ROUGE = {"rouge1": "rouge_1", "rouge2": "rouge_2", "rougeL": "rouge_l"}


class ExtractSpec(FrozenProtocol):
    """The sentences nearest to a question, or to the whole document, answer it or sum it up; nothing is trained."""

    kind: Literal["extract"] = "extract"

    def predictions(self, encoder: SentenceEncoder, asked: Extraction) -> Iterator[tuple[str, dict[str, Floats]]]:
        """mean: of each sentence's concepts; mean_centred: less the mean of the document's; lead: the first ones."""
        documents = [_sentences(encoder, document) for document in asked.documents]

        def scored(nearness: Iterator[Floats]) -> dict[str, Floats]:
            pairs = zip(asked.about, nearness, strict=True)
            return scores(asked, [selected(documents[about], near, asked.words) for about, near in pairs])

        for name, encode in {"mean": encode_windows, "token_means": encode_token_windows}.items():
            read = [encode(encoder, each).mean() for each in documents]
            queries = encode(encoder, asked.questions).mean()
            yield name, scored(_nearness(asked, queries, read))
            if name == "mean":
                centred = [vectors - vectors.mean(axis=0) for vectors in read]
                yield "mean_centred", scored(_nearness(asked, queries - queries.mean(axis=0), centred))
        each = list(zip(asked.questions, asked.about, asked.answers, strict=True))
        yield "tf_idf", scored(tf_idf([text or " ".join(documents[n])], documents[n])[0] for text, n, _ in each)
        yield "lead", scored(-np.arange(float(len(documents[n]))) for _, n, _ in each)
        yield "oracle", scored(_oracle(documents[n], known, asked.words) for _, n, known in each)


def _sentences(encoder: SentenceEncoder, document: str) -> list[str]:
    """Those of which the model reads something: see `document_encoder.LONGEST`."""
    found = [text for each in SENTENCE_END.split(document) if (text := each.strip())]
    before = np.cumsum([0, *(len(tokens) for tokens in encoder.tokenizer.encode(found))])[:-1]
    return [text for text, start in zip(found, before, strict=True) if start < LONGEST]


def _nearness(asked: Extraction, queries: Floats, read: Sequence[Floats]) -> Iterator[Floats]:
    """Of each question, the cosines (S,) of its document's sentences with it or, without one, with their mean."""
    for text, query, about in zip(asked.questions, queries, asked.about, strict=True):
        yield cosines(query[None] if text else read[about].mean(axis=0, keepdims=True), read[about])[0]


def selected(sentences: Sequence[str], nearness: Floats, words: float) -> str:
    """The nearest, until they hold so many words, in the order of the document."""
    order = np.argsort(-nearness, kind="stable")
    held = np.cumsum([len(sentences[number].split()) for number in order])
    return " ".join(sentences[number] for number in sorted(order[: np.searchsorted(held, words) + 1]))


def scores(asked: Extraction, said: Sequence[str]) -> dict[str, Floats]:
    """Metric -> (questions,) of what was said, under the best of several answers; of a geometric mean its parts."""
    pairs = list(zip(said, asked.answers, strict=True))
    if not asked.summaries:
        found = [max(f1(_words(text), _words(answer)) for answer in answers) for text, answers in pairs]
        return {"f1": np.array(found)}
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(ROUGE))
    rouges = [[scorer.score(answer, text) for answer in answers] for text, answers in pairs]
    parts = {name: np.array([max(one[key].fmeasure for one in each) for each in rouges]) for key, name in ROUGE.items()}
    return parts | {"rouge_geometric_mean": np.stack(list(parts.values()), axis=1)}


def _words(text: str) -> Counter[str]:
    """Without case, punctuation and articles, as SQuAD compares them."""
    return Counter(ARTICLE.sub(" ", text.lower().translate(PUNCTUATION)).split())


def f1(said: Counter[str], answer: Counter[str]) -> float:
    """Of the words that both hold."""
    return 2 * (said & answer).total() / max(said.total() + answer.total(), 1)


def _oracle(sentences: Sequence[str], answers: Sequence[str], words: float) -> Floats:
    """(S,) Largest for the sentence with the highest F1, then for the one that raises theirs together the most."""
    held, known, ranks = [_words(one) for one in sentences], [_words(one) for one in answers], np.zeros(len(sentences))
    together = Counter[str]()
    while together.total() < words and not ranks.all():
        found = [max(f1(together + one, answer) for answer in known) for one in held]
        chosen = int(np.where(ranks > 0, -1, found).argmax())
        ranks[chosen], together = len(sentences) - (ranks > 0).sum(), together + held[chosen]
    return ranks
