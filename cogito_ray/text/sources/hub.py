"""A dataset of the Hugging Face hub, by name, or a local dataset folder in the hub's layout."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from pydantic import PositiveFloat

from cogito_ray.spec import Spec
from cogito_ray.text.document import LARGEST_PART, Bad, Found, Part
from cogito_ray.text.sources.filesystem import list_files, relative

if TYPE_CHECKING:
    from datasets import IterableDataset


class HubSpec(Spec):
    kind: Literal["hub"] = "hub"
    name: str
    """`owner/name` on the hub, or a local folder."""
    config: str | None = None
    split: str = "train"
    column: str = "text"
    """Field that holds a document's text."""
    revision: str | None = None
    """Branch, tag or commit; unset: the main branch as it is when prepared."""
    weight: PositiveFloat = 1.0
    """Share of the rows drawn from this source, relative to the other sources."""

    def faults(self) -> list[str]:
        """What is wrong with the name, split or column, found from the first document."""
        try:
            first = next(iter(self.load()), None)
        except (OSError, ValueError, pa.ArrowException) as error:
            return [f"name: {self.name!r} cannot be loaded ({error}); give a dataset's name or a local folder"]
        if first is None:
            return [f"split: {self.split!r} of {self.name!r} is empty"]
        return [] if self.column in first else [f"column: {self.column!r} is not among {sorted(first)}"]

    def fingerprint(self) -> list[object]:
        """The commit on the hub, or what the local folder holds."""
        chosen: list[object] = [self.config, self.split, self.column]
        if Path(self.name).is_dir():
            return [*chosen, *([relative(file), file.size, file.changed] for file in list_files(self.name))]
        from huggingface_hub import HfApi  # costs half a second: only for names

        return [*chosen, self.name, HfApi().dataset_info(self.name, revision=self.revision).sha]

    def is_gathered(self, scratch: Path) -> bool:
        """Tasks stream their own files: nothing is stored twice."""
        return True

    def gather(self, scratch: Path) -> None:
        """Nothing to do."""

    def parts(self, scratch: Path) -> list[Part]:
        """One part per file of the dataset."""
        count = self.load().num_shards
        local = Path(self.name).is_dir()
        found = self.model_copy(update={"name": str(Path(self.name).absolute())}) if local else self
        return [Part((HubPiece(found, index, count),)) for index in range(count)]

    def load(self) -> "IterableDataset":
        from datasets import load_dataset  # costs a second: only where it is used

        return load_dataset(self.name, self.config, split=self.split, revision=self.revision, streaming=True)


@dataclass(frozen=True)
class HubPiece:
    dataset: HubSpec
    index: int
    count: int
    size: int = LARGEST_PART

    def read(self) -> Iterator[Found | Bad]:
        place = f"{self.dataset.name}:{self.dataset.split}:file {self.index} of {self.count}"
        row = 0
        try:
            for document in self.dataset.load().shard(self.count, self.index):
                yield Found(f"{place}:row {row}", document.get(self.dataset.column))
                row += 1
        except (OSError, ValueError, pa.ArrowException) as error:
            yield Bad(f"{place}:row {row}", f"unreadable from here: {error}", whole_file=True)
