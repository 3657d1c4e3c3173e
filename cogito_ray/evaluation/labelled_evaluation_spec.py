"""Which labelled questions the checkpoints of a long run are asked while it trains: settings alone, of plain values."""

from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self, TypeAlias, get_args

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from cogito_ray.base_spec import Spec, brief, did_you_mean, nearest
from cogito_ray.evaluation.tasks.document_tasks import DOCUMENT_TASKS
from cogito_ray.evaluation.tasks.sentence_tasks import DEFAULT, TASKS
from cogito_ray.nn.concept_pooling import PoolSpec, ViaDecoderPoolSpec

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


class AskedSpec(Spec):
    """What every way of asking may change of the model that is asked."""

    iterations: PositiveInt | None = None
    """How often a tied encoder's block is applied; null = as in training."""
    length: PositiveInt | None = None
    """Tokens of a row that are read, with positions stretched over them; null = as in training."""


class FineTuneSettings(AskedSpec):
    """How long and how fast, and how concepts become the vector that is classified."""

    kind: Literal["fine-tune"] = "fine-tune"
    head: PoolSpec = ViaDecoderPoolSpec()
    """How a text's concepts become one vector, before a linear layer."""
    pairs: Literal["separate", "concatenated"] = "separate"
    """separate: two texts are encoded apart and compared as in nn.concept_pooling. concatenated: they share a row."""
    rows: PositiveInt = 2000
    """Training examples, at most, drawn by the seed; those held back are among them."""
    epochs: PositiveInt = 6
    """At most."""
    patience: PositiveInt = 2
    """Epochs without a lower loss on what is held back, after which training ends."""
    held_back: float = Field(default=0.1, gt=0, lt=1)
    batch: PositiveInt = 16
    learning_rate: PositiveFloat = 1e-3
    """Its largest. Suits encoders of a few million weights; 2e-5 to 5e-5 suits those of a hundred million."""
    further_learning_rates: tuple[PositiveFloat, ...] = ()
    """That are tried, too: the one with the lowest loss on what is held back answers."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the values that the linear layer reads which training leaves out."""


class LabelledSpec(Spec):
    """What `cogito-ray evaluate` would ask, in its words."""

    tasks: Annotated[tuple[TaskName, ...], Field(min_length=1)] = DEFAULT
    protocols: Annotated[tuple[Protocol, ...], Field(min_length=1)] = ("zero-shot", "probe")
    """Tasks of whole documents have their own."""
    fine_tune: FineTuneSettings | None = None
    """Of the protocol fine-tune; null = its defaults."""
    limit: Annotated[int, Field(ge=2)] | None = None
    """Training examples of probes and fine-tuning, at most; null = as many as these take by default."""
    data: AbsoluteFolder | None = None
    """Folder of Parquet files such as glue/stsb/train.parquet, as an absolute path; null = from the hub."""

    @model_validator(mode="after")
    def _fine_tunes(self) -> Self:
        if self.fine_tune and "fine-tune" not in self.protocols:
            raise ValueError("fine_tune: protocols do not hold fine-tune; add it there, or leave this out")
        return self

    @property
    def asked(self) -> list[str | dict[str, Any]]:
        """Protocols by name, or with their settings."""
        settings = self.fine_tune.model_dump(mode="json", exclude_unset=True) if self.fine_tune else {}
        tuned = {"kind": "fine-tune"} | settings
        return [tuned if name == "fine-tune" else name for name in self.protocols]
