"""All that is measured of a model at every report, put together once per run."""

from collections.abc import Callable
from functools import partial

import torch

from cogito_ray.evaluation.frozen_concepts import encode, token_means
from cogito_ray.evaluation.protocols.zero_shot_similarity import Stsb
from cogito_ray.evaluation.validation.concept_analysis import ConceptAnalysis
from cogito_ray.evaluation.validation.held_out_loss import HeldOutLoss
from cogito_ray.nn.model import ConceptModel
from cogito_ray.run_spec import RunSpec
from cogito_ray.text.prepared_corpus import Corpus
from cogito_ray.text.vocabulary_info import Vocabulary

PIECE, PIECES = 16, 4096
"""Tokens of a piece of text that is about as long as a sentence, and how many stand for a corpus."""
Score = Callable[[ConceptModel], dict[str, float]]


def report_metrics(run: RunSpec, corpus: Corpus, vocabulary: Vocabulary) -> Score:
    """What is asked of this run's model at each report. `vocabulary` is the corpus's, with what objectives need.

    ValueError where the rows are too few for a metric by which the best checkpoints are to be chosen.
    """
    rows = torch.from_numpy(corpus.held_out_rows(run.evaluation.rows))      # (R, N)
    held_out = HeldOutLoss(rows, run.reference, vocabulary)
    scores: list[Score] = [held_out]
    if run.evaluation.word_probes is not None:
        words, best = run.evaluation.word_probes.build(rows, vocabulary), run.training.checkpoints.best
        if not words.enough and best is not None and best.metric in run.evaluation.word_probes.metrics:
            raise ValueError(
                f"training.checkpoints.best.metric: {best.metric} is not measured, because {len(rows)} held-out rows "
                "are too few, or their words all too rare; raise data.held_out, or choose by another metric"
            )
        pad = vocabulary.pad_id
        scores.append(lambda model: words(partial(encode, model, pad_id=pad), partial(token_means, model, pad_id=pad)))
    if run.evaluation.stsb is not None:
        scores.append(Stsb(run.evaluation.stsb, corpus.tokenizer, corpus.length, _pieces(corpus)))
    if run.evaluation.analysis:
        scores.append(ConceptAnalysis(rows, run.reference, vocabulary))
    constant = {"eval/unigram_nats": held_out.unigram_nats(torch.from_numpy(corpus.log_unigram))}
    return lambda model: {name: value for score in scores for name, value in score(model).items()} | constant


def _pieces(corpus: Corpus) -> torch.Tensor:
    """(P, K) of the corpus's held-out rows, PIECES of them or what there is."""
    length = min(PIECE, corpus.length)
    rows = min(PIECES * length // corpus.length + 1, sum(corpus.held_out_available.values()))
    held_out = torch.from_numpy(corpus.held_out_rows(rows))                 # (R, N)
    pieces = held_out[:, : corpus.length // length * length].reshape(-1, length)
    return pieces[(pieces != corpus.vocabulary.pad_id).any(dim=1)]
