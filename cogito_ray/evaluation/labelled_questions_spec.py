"""Which labelled questions the checkpoints of a long run are asked while it trains, and how models are fine-tuned."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from cogito_ray.base_spec import Spec
from cogito_ray.evaluation.labelled_evaluation_spec import AbsoluteFolder, Protocol, TaskName
from cogito_ray.evaluation.tasks.sentence_tasks import DEFAULT
from cogito_ray.nn.concept_pooling import PoolSpec, ViaDecoderPoolSpec


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
