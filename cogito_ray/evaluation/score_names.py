"""Names of labelled tasks and of their scores, and what a setting that names them must be: plain values, no model."""

from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import PurePath
from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import AfterValidator

from cogito_ray.base_spec import brief, did_you_mean, nearest
from cogito_ray.evaluation.tasks.document_tasks import DOCUMENT_TASKS
from cogito_ray.evaluation.tasks.sentence_tasks import TASKS

LABELLED = "labelled/"
EVALUATED = "evaluated"
"""Of a storage: folders of ledgers of models that no run of it trained."""
Protocol: TypeAlias = Literal["zero-shot", "probe", "fine-tune"]
VECTORS = (
    *("mean", "mean_whitened", "max", "all", "attention", "queries", "self_attention", "via_decoder"),
    *("mean_centred", "whole", "best_window"),
    *("token_means", "token_means_whitened", "weighted_token_means", "bag_of_words", "tf_idf", "majority", "chance"),
    *("lead", "oracle"),
)
"""What answers are made of: concepts, or baselines."""
STSB = (
    *("eval/stsb_spearman_mean", "eval/stsb_spearman_mean_whitened"),
    *("eval/stsb_spearman_token_means", "eval/stsb_spearman_token_means_whitened"),
    *("eval/stsb_spearman_mean_whitened_by_corpus", "eval/stsb_spearman_token_means_whitened_by_corpus"),
)
"""What a run reports where `evaluation.stsb` names the data."""
OF_DOCUMENTS = {"retrieval": ("recall_at_1", "mrr"), "choice": ("accuracy",), "choice-probe": ("accuracy",)}
OF_DOCUMENTS |= {"extract": ("f1", "rouge_1", "rouge_2", "rouge_l", "rouge_geometric_mean")}
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


def without_settings(name: str) -> str:
    """Of `labelled/<task>/<protocol>/<vectors>/<settings>/<metric>`, the name that stands for the best settings."""
    parts = name.split("/")
    return "/".join([*parts[:4], parts[5]]) if len(parts) == 6 else name


def all_score_names() -> list[str]:
    """Those of all tasks that are known by now, which `cogito-ray evaluate` may ask."""
    return list(score_names([*TASKS, *DOCUMENT_TASKS], get_args(Protocol)))


AbsoluteFolder = Annotated[str, AfterValidator(_absolute)]
TaskName = Annotated[str, AfterValidator(known_task)]
