"""Settings of cleaning: which documents are left out, of all sources of a corpus together.

In which language a document is, py3langid tells (https://aclanthology.org/P12-3005): a naive Bayes classifier of runs
of bytes, which comes with its model.
"""

from functools import lru_cache
from importlib.metadata import version
from typing import Annotated, Any, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from cogito_ray.base_spec import Spec, Worded
from cogito_ray.evaluation.score_names import AbsoluteFolder, TaskName

TOLD_BY = 2000
"""Characters by which a document is told."""


def language_of(text: str) -> str:
    """ISO 639 code of the likeliest; zxx of what is no language, such as numbers."""
    language: str = _identifier().classify(text[:TOLD_BY])[0]
    return language


def known_languages() -> list[str]:
    """All codes that `language_of` may give."""
    return sorted(_identifier().labels)


def identifier_version() -> str:
    """Another one may tell documents otherwise."""
    return version("py3langid")


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # half a second, for the model

    return LanguageIdentifier.from_model_file(MODEL_FILE)


Language = Annotated[str, Worded("[a-z]{2,3}", "a language is a code of ISO 639, such as en")]


class BoundsSpec(Spec):
    """A document is kept if its length lies between these, both included."""

    min: NonNegativeInt = 0
    max: PositiveInt | None = None
    """null = none is too long."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max is not None and self.max < self.min:
            raise ValueError(f"max {self.max} is below min {self.min}, which keeps nothing")
        return self

    def holds(self, length: int) -> bool:
        """Whether a document of this length is kept."""
        return self.min <= length and (self.max is None or length <= self.max)


class NearDuplicatesSpec(Spec):
    """Documents that share most of their runs of words, found by MinHash and locality-sensitive hashing
    (doi:10.1109/SEQUEN.1997.666900), with the settings of FineWeb (arXiv:2406.17557).

    Two documents whose sets of runs have Jaccard similarity s are found with probability 1 - (1 - s^rows)^bands: by
    default 0.05 at s = 0.5, 0.56 at 0.7, 0.77 at 0.75, 0.92 at 0.8.
    """

    ngram: PositiveInt = 5
    """Words in a run."""
    bands: Annotated[int, Field(ge=1, le=256)] = 14
    """More find documents that are less alike."""
    rows: Annotated[int, Field(ge=1, le=64)] = 8
    """MinHashes in a band; more find only documents that are more alike."""


class DecontaminationSpec(Spec):
    """Documents that hold a text which an evaluation asks about, as runs of words, whatever case and punctuation.

    As in GPT-3's appendix C (arXiv:2005.14165), a text of 13 words or more is found by any 13 of them in a row. Most
    sentences have fewer: of these all words must stand in a row. The whole document is left out, so that nothing that
    was said around the text stays.
    """

    tasks: tuple[TaskName, ...] = ()
    """Labelled tasks: the texts of the split that is scored."""
    data: AbsoluteFolder | None = None
    """Folder of the tasks' Parquet files, as in `evaluation.labelled`; null = from the hub."""
    folder: AbsoluteFolder | None = None
    """Further, every column of text of every Parquet file below this folder whose name does not begin with train."""
    ngram: Annotated[int, Field(ge=2, le=64)] = 13
    """Words in a row that are enough."""
    shortest: Annotated[int, Field(ge=1)] = 6
    """Texts of fewer words are not looked for, because they are said by chance: 194 of 26,000 documents hold one of 4
    words of twelve tasks, 11 of 6, half of them by chance. GPT-3 took 8, but a third of the texts of STS-B and SICK
    are shorter."""

    @model_validator(mode="after")
    def _looks_for_something(self) -> Self:
        if not self.tasks and self.folder is None:
            raise ValueError("names neither tasks nor a folder; give one of them, or leave decontaminate out")
        if self.shortest > self.ngram:
            raise ValueError(f"shortest {self.shortest} is more than ngram {self.ngram}; make it {self.ngram} or less")
        return self


class CleanSpec(Spec):
    """Which documents are left out, before any is held out or tokenised.

    Filters and decontamination judge a document by itself. Of duplicates the first stays, in the order of the sources
    and of their files: name the best source first. A tokenizer that is trained sees the text as it was.
    """

    exact_duplicates: bool = True
    """Leave out later documents with the same words, whatever their case, punctuation and spaces."""
    near_duplicates: NearDuplicatesSpec | None = NearDuplicatesSpec()
    """null = they stay."""
    characters: BoundsSpec | None = None
    """null = any number."""
    words: BoundsSpec | None = None
    """Runs of letters and digits; null = any number."""
    languages: dict[str, Annotated[tuple[Language, ...], Field(min_length=1)]] = {}
    """Of a source, the languages that stay (`{web: [en]}`), told by a document's first 2,000 characters; sources that
    are not named keep all."""
    decontaminate: DecontaminationSpec | None = None
    """null = nothing is looked for."""

    @model_validator(mode="after")
    def _removes_something(self) -> Self:
        if not (self.exact_duplicates or any(getattr(self, name) for name in type(self).model_fields)):
            raise ValueError("leaves nothing out; leave `clean` out instead")
        return self
