"""Test-time compute: a trained recursive encoder, iterated less or further than it was trained (arXiv:1807.03819)."""

from collections.abc import Iterator, Sequence

from cogito_ray.analysis.analysis_result import DepthMetrics
from cogito_ray.evaluation.checkpoint_loader import TrainedModel
from cogito_ray.evaluation.validation.validation_metrics import report_metrics


def metrics_by_depth(trained: TrainedModel, times: Sequence[int]) -> Iterator[DepthMetrics]:
    """All that the run's reports measure, with its one block applied each of so many times; nothing is trained.

    ValueError where the encoder's blocks are its own. Its depth is what it was, afterwards.
    """
    encoder, vocabulary = trained.model.encoder, trained.vocabulary
    own = encoder.depth
    encoder.set_depth(own)                                                    # refused before anything is computed
    measure = report_metrics(trained.run, trained.corpus, vocabulary)
    for count in times:
        encoder.set_depth(count)
        yield DepthMetrics(count, count == own, measure(trained.model))
        encoder.set_depth(own)
