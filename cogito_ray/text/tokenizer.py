"""From text to token ids: any Hugging Face fast tokenizer, or a byte-level BPE trained on the corpus."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from cogito_ray.spec import Spec


class PretrainedTokenizerSpec(Spec):
    kind: Literal["pretrained"] = "pretrained"
    name: str
    """A name on the Hugging Face hub, or a folder that holds tokenizer.json."""


class BpeSpec(Spec):
    """Byte-level byte-pair encoding (arXiv:1508.07909), trained on a sample of the train documents."""

    kind: Literal["bpe"] = "bpe"
    vocabulary: int = Field(default=8192, ge=300, le=2**20)
    """Entries, special tokens included."""
    sample: PositiveInt = 20_000_000
    """Characters of the corpus it is trained on, shared equally among the sources."""


TokenizerSpec = Annotated[PretrainedTokenizerSpec | BpeSpec, Field(discriminator="kind")]
