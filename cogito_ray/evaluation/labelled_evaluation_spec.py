"""What is asked of labelled tasks, by `cogito-ray evaluate` or while a run trains, and how models are fine-tuned."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, JsonValue, PositiveFloat, PositiveInt, model_validator

from cogito_ray.base_spec import Spec
from cogito_ray.evaluation.score_names import AbsoluteFolder, Protocol, TaskName
from cogito_ray.evaluation.tasks.sentence_tasks import DEFAULT, expanded
from cogito_ray.nn.concept_pooling import PoolSpec, ViaDecoderPoolSpec


def _listed(given: object) -> object:
    return [name.strip() for name in given.split(",")] if isinstance(given, str) else given


def _tasks(given: object) -> object:
    """The tasks of groups, too; what are no names is refused as it is."""
    names = _listed(given)
    known = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    return expanded(names) if known else names  # type: ignore[arg-type]


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
    pairs: Literal["separate", "concatenated", "cosine"] = "separate"
    """separate: two texts are encoded apart and compared as in nn.concept_pooling. concatenated: they share a row.
    cosine: they are encoded apart, and the cosine of their vectors alone is read, as zero-shot reads it."""
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


class LabelledEvaluationSpec(Spec):
    """What is asked, in the words of `cogito-ray evaluate`."""

    tasks: Annotated[tuple[TaskName, ...], BeforeValidator(_tasks), Field(min_length=1)] = DEFAULT
    """Their names, or glue, sick and all, which stand for several."""
    protocols: Annotated[
        tuple[Protocol | dict[str, JsonValue], ...], BeforeValidator(_listed), Field(min_length=1)
    ] = ("zero-shot", "probe")
    """By name, or with settings, as {kind: fine-tune, epochs: 3}. Tasks of whole documents have their own."""
    fine_tune: FineTuneSettings | None = None
    """Of the protocol fine-tune, where it is given by name; null = its defaults."""
    seeds: PositiveInt = 1
    """Of fine-tuning, into which alone chance enters."""
    limit: Annotated[int, Field(ge=2)] | None = None
    """Training examples of probes and fine-tuning, at most; null = as many as these take by default."""
    iterations: tuple[PositiveInt, ...] = ()
    """How often to apply a tied encoder's block, each in turn; none = as in training."""
    lengths: tuple[PositiveInt, ...] = ()
    """Tokens of a row that are read, each in turn, with positions stretched over them; none = as in training."""
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
        return [tuned if one == "fine-tune" else one for one in self.protocols]

    @property
    def kinds(self) -> list[str]:
        """Of the protocols."""
        return [str(one.get("kind")) if isinstance(one, dict) else one for one in self.protocols]
