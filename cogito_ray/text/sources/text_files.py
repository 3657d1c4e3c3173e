"""Documents in files of any usual format, on any file system that pyarrow or fsspec reaches."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from cogito_ray.base_spec import PLAIN, Spec
from cogito_ray.text.sources.documents import LARGEST_PART, Part, Weight
from cogito_ray.text.sources.file_formats import (
    RECORDS,
    TEXTS,
    is_data,
    is_readable,
    lacking,
    left_out,
    parts_of_files,
)
from cogito_ray.text.sources.filesystem_access import File, fingerprints_of, list_files
from cogito_ray.text.sources.line_files import SampleBy

LARGEST_DOCUMENT = 256 * 2**20
"""Bytes of a text file that is one document, which a task holds whole, several times over."""


class FilesSpec(Spec):
    """Files that hold documents, each in a row, a line, a paragraph, or whole."""

    kind: Literal["files"] = "files"
    path: Annotated[str, Field(min_length=1), PLAIN]
    """A file, a folder (read recursively, links followed) or a glob; local or a URL such as s3://bucket/folder. Files
    count by their ending: .parquet, .arrow, .feather, .jsonl, .ndjson, .json (JSON Lines), .csv, .tsv, .txt, .text,
    .md, each also compressed (.gz, .bz2, .xz, .zst, .zstd, .lz4). README, LICENSE and the like are left out."""
    column: str = "text"
    """Field that holds a document's text; `a.b` for field b within a. A list of texts is joined by line breaks."""
    sample_by: SampleBy = "document"
    """What is one document of a .txt, .text or .md file: all of it, a paragraph (up to a blank line), or a line."""
    weight: Weight = 1.0
    """Share of the rows drawn from this source, relative to the other sources; size: in proportion to its rows."""

    def faults(self) -> list[str]:
        """What is wrong with the path or the column, each as `field: fault`, found without reading the documents."""
        try:
            files = self._files()
        except (OSError, ValueError, ImportError) as error:
            return [f"path: {self.path!r} cannot be listed ({error}); give a file, a folder, a glob or a URL"]
        if not files:
            without = f" ({said})" if (said := self.left_out()) else ""
            return [f"path: {self.path!r} holds no file that ends in {', '.join([*RECORDS, *TEXTS])}{without}"]
        return lacking(files, self.column) + self._too_large(files)

    def _too_large(self, files: Sequence[File]) -> list[str]:
        large = [file for file in files if file.ending in TEXTS and file.expanded_size > LARGEST_DOCUMENT]
        if not large or self.sample_by != "document":
            return []
        more = f" and {len(large) - 1} more hold" if len(large) > 1 else " holds"
        size = f"{large[0].expanded_size / 2**20:.0f} MB"
        return [
            f"sample_by: {large[0].path}{more} {size}, which as one document takes gigabytes of memory; write "
            "sample_by: paragraph (or line), or cut the file up"
        ]

    def fingerprint(self) -> dict[str, object]:
        """Changes when a file comes, goes, or is written to; not when the folder is moved."""
        sampled = {} if self.sample_by == "document" else {"sample_by": self.sample_by}
        return {"column": self.column, **sampled, "files": fingerprints_of(self._files())}

    def left_out(self) -> str:
        """Which files of the path hold no documents: how many of each ending; empty where all do."""
        read = {file.path for file in self._files()}
        return left_out([file for file in list_files(self.path) if file.path not in read])

    def is_gathered(self, scratch: Path) -> bool:
        """Files are read where they are."""
        return True

    def gather(self, scratch: Path) -> None:
        """Nothing to do."""

    def parts(self, scratch: Path, largest: int = LARGEST_PART) -> list[Part]:
        """How independent tasks share the reading; `largest`: bytes of text in a part, about."""
        return parts_of_files(self._files(), self.column, largest, self.sample_by)

    def places(self, scratch: Path) -> set[str]:
        """Where the files of its parts lie now."""
        return {file.path for file in self._files()}

    def _files(self) -> list[File]:
        files = list_files(self.path)
        if len(files) == 1 and self.path.endswith(files[0].path.rpartition("/")[2]):  # what is named is meant
            return [file for file in files if is_readable(file)]
        return [file for file in files if is_data(file)]
