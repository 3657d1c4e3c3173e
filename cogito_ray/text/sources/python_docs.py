"""English prose that every Python installation holds: the documentation of its library and installed packages.

Source files are read, never imported. A document is what one file, topic or package description says.
"""

import importlib.metadata
import platform
import re
import sysconfig
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from inspect import cleandoc
from pathlib import Path
from pydoc_data.topics import topics
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import PositiveFloat

from cogito_ray.files import atomic_write
from cogito_ray.spec import Spec, digest
from cogito_ray.text.document import LARGEST_PART, Part, parts_of
from cogito_ray.text.sources.files import parquet_pieces
from cogito_ray.text.sources.filesystem import list_files

FORMAT = 1
"""Raised when the cleaning changes: gathered text is kept under this number."""
SOURCE_BYTES = 64 * 2**20
"""Python source looked through for `packages`: keeps the gathering to seconds."""
DOCSTRING = re.compile(r'''(?:\A|:[ \t]*\n)\s*(?:#[^\n]*\n\s*)*[rRuU]?"""(.*?)"""''', re.DOTALL)
"""A triple-quoted string that opens a file, or the body of a class or function. Parsing takes ten times as long."""
SHORTEST_DOCUMENT, SHORTEST_PARAGRAPH = 200, 40  # characters
NOT_PROSE = re.compile(r">>>|copyright|licen[sc]ed? |warrant|[=\-~^+*#]{5}|\|.*\||^\.\. |\$ |</|\{\{", re.IGNORECASE)
MARKUP = re.compile(r":[a-z:]+:`~?([^`<]+)(?: <[^>]*>)?`|``?([^`]+)``?`?_{0,2}|\*\*([^*]+)\*\*|!?\[([^\]]*)\]\([^)]*\)")
ROW_GROUP = 256  # documents


class PythonDocsSpec(Spec):
    kind: Literal["python-docs"] = "python-docs"
    part: Literal["library", "packages"]
    """library: pydoc's topics and the standard library's docstrings; packages: installed packages' docstrings and
    descriptions."""
    weight: PositiveFloat = 1.0
    """Share of the rows drawn from this source, relative to the other sources."""

    def faults(self) -> list[str]:
        return []

    def fingerprint(self) -> list[object]:
        """Changes with the Python version and, for packages, with what is installed."""
        return [FORMAT, self.part, platform.python_version(), *(_installed() if self.part == "packages" else [])]

    def is_gathered(self, scratch: Path) -> bool:
        return self._file(scratch).exists()

    def gather(self, scratch: Path) -> None:
        """Writes the documents to one Parquet file under `scratch`; takes seconds."""
        scratch.mkdir(parents=True, exist_ok=True)
        documents = pa.table({"text": list(_documents(GATHER[self.part]()))})
        with atomic_write(self._file(scratch)) as stream:
            pq.write_table(documents, stream, row_group_size=ROW_GROUP)

    def parts(self, scratch: Path, largest: int = LARGEST_PART) -> list[Part]:
        """How independent tasks share the gathered documents."""
        [stored] = list_files(str(self._file(scratch)))
        return parts_of(parquet_pieces(stored, "text", 0), largest)

    def _file(self, scratch: Path) -> Path:
        return scratch / f"python-{self.part}-{digest(self.fingerprint())}.parquet"


def _installed() -> list[str]:
    return sorted({f"{d.metadata['Name']} {d.version}" for d in importlib.metadata.distributions()})


def _library() -> Iterator[str]:
    yield from topics.values()
    folder = Path(sysconfig.get_path("stdlib"))
    left_out = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3"}
    files = (file for file in sorted(folder.rglob("*.py")) if not left_out & set(file.relative_to(folder).parts))
    yield from map(_docstrings, files)


def _packages() -> Iterator[str]:
    found = {distribution.metadata["Name"]: distribution for distribution in importlib.metadata.distributions()}
    for _, distribution in sorted(found.items()):
        yield distribution.read_text("METADATA") or ""
    yield from map(_docstrings, _package_files())


def _package_files() -> Iterator[Path]:
    """Source files in an order that depends on their names alone, until SOURCE_BYTES are reached."""
    folder = Path(sysconfig.get_path("purelib"))
    files = [file for file in folder.rglob("*.py") if not {"test", "tests"} & set(file.parts)]
    left = SOURCE_BYTES
    for file in sorted(files, key=lambda file: blake2b(str(file.relative_to(folder)).encode()).digest()):
        left -= file.stat().st_size
        if left < 0:
            return
        yield file


def _docstrings(file: Path) -> str:
    """What the docstrings of a source file say."""
    source = file.read_text(encoding="utf-8", errors="replace")
    return "\n\n".join(cleandoc(docstring) for docstring in DOCSTRING.findall(source))


GATHER = {"library": _library, "packages": _packages}


def _documents(texts: Iterable[str]) -> Iterator[str]:
    """Texts reduced to their prose; a paragraph that stood in an earlier text is dropped."""
    seen: set[bytes] = set()
    for text in texts:
        kept = []
        for paragraph in _paragraphs(text):
            key = blake2b(paragraph.encode(), digest_size=16).digest()
            if key not in seen:
                seen.add(key)
                kept.append(paragraph)
        if len(document := "\n\n".join(kept)) >= SHORTEST_DOCUMENT:
            yield document


def _paragraphs(text: str) -> Iterator[str]:
    """Paragraphs that read as English, unwrapped and without markup."""
    for block in re.split(r"\n\s*\n", cleandoc(text).replace("\r", "")):
        plain = MARKUP.sub(lambda found: next((group for group in found.groups() if group), ""), block)
        paragraph = " ".join(plain.split())
        letters = sum(character.isalpha() or character.isspace() for character in paragraph)
        is_prose = len(paragraph) >= SHORTEST_PARAGRAPH and letters >= 0.88 * len(paragraph)
        if is_prose and not NOT_PROSE.search(block) and paragraph.isprintable():
            yield paragraph
