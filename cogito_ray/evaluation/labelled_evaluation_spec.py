"""Which labelled questions the checkpoints of a long run are asked while it trains: settings alone, of plain values."""

from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import PurePath
from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import AfterValidator, Field

from cogito_ray.base_spec import Spec, brief, did_you_mean, nearest
from cogito_ray.evaluation.tasks.document_tasks import DOCUMENT_TASKS
from cogito_ray.evaluation.tasks.sentence_tasks import DEFAULT, TASKS

LABELLED = "labelled/"
Protocol: TypeAlias = Literal["zero-shot", "probe", "fine-tune"]
VECTORS = (
    *("mean", "mean_whitened", "max", "all", "attention", "queries", "self_attention", "via_decoder"),
    *("mean_centred", "whole", "best_window"),
    *("token_means", "token_means_whitened", "weighted_token_means", "bag_of_words", "tf_idf", "majority", "chance"),
)
"""What answers are made of: concepts, or baselines."""
STSB = (
    *("eval/stsb_spearman_mean", "eval/stsb_spearman_mean_whitened"),
    *("eval/stsb_spearman_token_means", "eval/stsb_spearman_token_means_whitened"),
)
"""What a run reports where `evaluation.stsb` names the data."""
OF_DOCUMENTS = {"retrieval": ("recall_at_1", "mrr"), "choice": ("accuracy",), "choice-probe": ("accuracy",)}
"""Metrics of tasks of whole documents, by protocol."""


def _absolute(folder: str) -> str:
    if not PurePath(folder).is_absolute():
        raise ValueError(f"{folder!r} is relative, but workers start in folders of their own; write the whole path")
    return folder


def known_task(name: str) -> str:
    """`name`; ValueError where no task is called so, with those that may have been meant."""
    if name not in TASKS and name not in DOCUMENT_TASKS:
        known = [*TASKS, *DOCUMENT_TASKS]
        raise ValueError(f"no task is called {name or brief(name)}; {did_you_mean(nearest(name, known), known)}")
    return name


def score_names(tasks: Iterable[str], protocols: Iterable[str]) -> Iterator[str]:
    """Names under which labelled scores may stand among metrics; see `evaluation_scores.best_of_each`."""
    for task in tasks:
        metrics = dict.fromkeys(protocols, TASKS[task].metrics) if task in TASKS else OF_DOCUMENTS
        for protocol, vectors in product(metrics, ("", *(f"{one}/" for one in VECTORS))):
            yield from (f"{LABELLED}{task}/{protocol}/{vectors}{metric}" for metric in metrics[protocol])


def all_score_names() -> list[str]:
    """Those of all tasks that are known by now, which `cogito-ray evaluate` may ask."""
    return list(score_names([*TASKS, *DOCUMENT_TASKS], get_args(Protocol)))


AbsoluteFolder = Annotated[str, AfterValidator(_absolute)]
TaskName = Annotated[str, AfterValidator(known_task)]


class LabelledSpec(Spec):
    """What `cogito-ray evaluate` would ask, in its words."""

    tasks: Annotated[tuple[TaskName, ...], Field(min_length=1)] = DEFAULT
    protocols: Annotated[tuple[Protocol, ...], Field(min_length=1)] = ("zero-shot", "probe")
    """Tasks of whole documents have their own."""
    limit: Annotated[int, Field(ge=2)] | None = None
    """Training examples of probes and fine-tuning, at most; null = as many as these take by default."""
    data: AbsoluteFolder | None = None
    """Folder of Parquet files such as glue/stsb/train.parquet, as an absolute path; null = from the hub."""
