"""What a run reads: sources and their mixture, the tokenizer, and the shape of a row."""

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from cogito_ray.base_spec import Spec, Worded
from cogito_ray.text.cleaning.clean_spec import CleanSpec, known_languages
from cogito_ray.text.cleaning.evaluation_overlap import faults_of_sets
from cogito_ray.text.sources import SourceSpec
from cogito_ray.text.sources.documents import LARGEST_PART, SOON_READ
from cogito_ray.text.trained_tokenizers import BpeSpec, TokenizerSpec


@dataclass(frozen=True)
class Keeping:
    """What preparation leaves behind."""

    rows: bool
    """Whether train rows are written to shards."""
    largest_part: int
    """Bytes of text that are tokenised by one task, about."""
    suffix: str
    """Of the name of the file that says what was prepared."""

    @property
    def identity(self) -> dict[str, object]:
        """What tells the prepared folder from that of kept rows."""
        return {} if self.rows else {"largest_part": self.largest_part}


KEEPING = {
    "tokens": Keeping(rows=True, largest_part=LARGEST_PART, suffix=""),
    "text": Keeping(rows=False, largest_part=SOON_READ, suffix="-text"),
}
Packing = Literal["concatenate", "document", "best_fit"]
SourceName = Annotated[
    str,
    Worded("[a-z0-9][a-z0-9_-]*", "a source's name has lower-case letters, digits, '_' and '-', no sign first"),
]


class DataSpec(Spec):
    """The data of a run: sources and their mixture, tokenizer, row length, what is held out and what is kept."""

    sources: dict[SourceName, SourceSpec] = Field(min_length=1)
    """Named sources; rows are drawn from them in proportion to their weights."""
    tokenizer: TokenizerSpec = BpeSpec()
    length: int = Field(ge=2)
    """Tokens per row (N)."""
    held_out: float = Field(default=0.01, gt=0, lt=1)
    """Share of documents, chosen by a hash of their text, that training never sees."""
    packing: Packing = "concatenate"
    """concatenate: documents are joined by the separator and cut every N tokens; document: a row never mixes documents
    (its end is padding); best_fit: whole documents share rows so that little is padding (best-fit decreasing), and only
    those longer than a row are cut."""
    held_out_packing: Packing | None = None
    """Of held-out rows; null = as `packing`. Set, it lets trials that pack their train rows otherwise compare."""
    bad_documents: float = Field(default=0.01, ge=0, le=1)
    """Share of empty or unreadable documents (or files) tolerated in a source."""
    clean: CleanSpec | None = None
    """Which documents are left out, such as duplicates and what evaluations ask; null = none."""
    keep: Literal["tokens", "text"] = "tokens"
    """tokens: train rows are tokenised once and written to shards. text: they are counted, and tokenised again by Ray
    Data whenever they are read, a few million tokens shuffled at a time: for corpora too large to keep twice."""

    @field_validator("sources")
    @classmethod
    def _one_measure(cls, sources: dict[SourceName, SourceSpec]) -> dict[SourceName, SourceSpec]:
        by_size = [name for name, source in sources.items() if source.weight == "size"]
        if by_size and len(by_size) < len(sources):
            raise ValueError(f"weight: size is said of {', '.join(by_size)} alone; say it of all sources, or of none")
        return sources

    @model_validator(mode="after")
    def _languages_of_sources(self) -> Self:
        if unknown := (self.clean.languages.keys() if self.clean else set()) - self.sources.keys():
            named = ", ".join(sorted(unknown))
            raise ValueError(f"clean.languages names {named}; sources are {', '.join(self.sources)}")
        return self

    @property
    def keeping(self) -> Keeping:
        """What `keep` means for preparation."""
        return KEEPING[self.keep]

    def faults(self) -> list[str]:
        """What would stop `prepare`, found in moments: paths, columns and tokenizers that are not there."""
        of_sources = [f"data.sources.{name}.{fault}" for name, s in self.sources.items() for fault in s.faults()]
        of_tokenizer = [f"data.tokenizer.{fault}" for fault in self.tokenizer.faults()]
        looked_for = self.clean.decontaminate if self.clean else None
        of_languages = [f"data.clean.languages.{fault}" for fault in self._unknown_languages()]
        of_sets = [f"data.clean.decontaminate: {fault}" for fault in (faults_of_sets(looked_for) if looked_for else [])]
        return of_sources + of_tokenizer + of_languages + of_sets

    def _unknown_languages(self) -> list[str]:
        asked = self.clean.languages if self.clean else {}
        known = known_languages() if asked else []
        return [
            f"{name}: {code!r} cannot be told; there are {', '.join(known)}"
            for name, codes in asked.items() for code in codes if code not in known
        ]  # fmt: skip


def corpus_key(data: DataSpec) -> str:
    """Equal for two corpora that hold the same rows, however they are mixed."""
    sources = {name: source.model_copy(update={"weight": 1.0}) for name, source in data.sources.items()}
    return data.model_copy(update={"sources": sources}).digest()
