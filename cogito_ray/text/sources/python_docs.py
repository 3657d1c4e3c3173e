"""English prose that every installation of this project holds: the documentation of Python and of required packages.

packages.txt names those that the project needs to run (`make lock` writes it): whatever else is installed changes
no text. Source files are read, never imported. A document is what one file, topic or package description says.
"""

import importlib.metadata
import platform
import re
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from importlib.metadata import Distribution, PackageNotFoundError
from inspect import cleandoc
from pathlib import Path
from pydoc_data.topics import topics
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from cogito_ray.atomic_files import atomic_write
from cogito_ray.base_spec import Spec, digest
from cogito_ray.text.sources.columnar_files import parquet_pieces
from cogito_ray.text.sources.documents import LARGEST_PART, Part, Weight, parts_of
from cogito_ray.text.sources.filesystem_access import list_files

FORMAT = 2
"""Raised when the cleaning changes: gathered text is kept under this number."""
SOURCE_BYTES = 64 * 2**20
"""Python source looked through for `packages`: keeps the gathering to seconds."""
DOCSTRING = re.compile(r'''(?:\A|:[ \t]*\n)\s*(?:#[^\n]*\n\s*)*[rRuU]?"""(.*?)"""''', re.DOTALL)
"""A triple-quoted string that opens a file, or the body of a class or function. Parsing takes ten times as long."""
SHORTEST_DOCUMENT, SHORTEST_PARAGRAPH = 200, 40  # characters
NOT_PROSE = re.compile(r">>>|copyright|licen[sc]ed? |warrant|[=\-~^+*#]{5}|\|.*\||^\.\. |\$ |</|\{\{", re.IGNORECASE)
MARKUP = re.compile(r":[a-z:]+:`~?([^`<]+)(?: <[^>]*>)?`|``?([^`]+)``?`?_{0,2}|\*\*([^*]+)\*\*|!?\[([^\]]*)\]\([^)]*\)")
ROW_GROUP = 256  # documents
LEFT_OUT = {"test", "tests", ".."}
"""Folders of a package of which nothing is read."""


class PythonDocsSpec(Spec):
    """Text that needs no download: for the quickstart, tests and machines without a network."""

    kind: Literal["python-docs"] = "python-docs"
    part: Literal["library", "packages"]
    """library: pydoc's topics and the standard library's docstrings; packages: docstrings and descriptions of the
    packages that this project needs."""
    weight: Weight = 1.0
    """Share of the rows drawn from this source, relative to the other sources; size: in proportion to its rows."""

    def faults(self) -> list[str]:
        """Nothing can be missing."""
        return []

    def fingerprint(self) -> dict[str, object]:
        """Changes with the versions of what is read."""
        return {"format": FORMAT, "part": self.part, "python": platform.python_version(), **VERSIONS[self.part]()}

    def left_out(self) -> str:
        """Nothing."""
        return ""

    def is_gathered(self, scratch: Path) -> bool:
        """Were the documents of these versions written before?"""
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

    def places(self, scratch: Path) -> set[str]:
        """Where the files of its parts lie now."""
        return {file.path for file in list_files(str(self._file(scratch)))}

    def _file(self, scratch: Path) -> Path:
        return scratch / f"python-{self.part}-{digest(self.fingerprint())}.parquet"


def packages() -> dict[str, Distribution]:
    """Those of packages.txt that are installed."""
    named = (Path(__file__).with_name("packages.txt")).read_text().split()
    return {name: found for name in named if (found := _installed(name))}


def _versions() -> dict[str, object]:
    return {"packages": {name: distribution.version for name, distribution in packages().items()}}


def _installed(name: str) -> Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except PackageNotFoundError:
        return None


def _library() -> Iterator[str]:
    yield from topics.values()
    folder = Path(sysconfig.get_path("stdlib"))
    left_out = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3"}
    files = (file for file in sorted(folder.rglob("*.py")) if not left_out & set(file.relative_to(folder).parts))
    yield from map(_docstrings, files)


def _packages() -> Iterator[str]:
    for distribution in packages().values():
        yield distribution.read_text("METADATA") or ""
    yield from map(_docstrings, _package_files())


def _package_files() -> Iterator[Path]:
    """Source files in an order that depends on their names alone, until SOURCE_BYTES are reached."""
    installed = (file for distribution in packages().values() for file in distribution.files or ())
    named = {str(file): file for file in installed if file.suffix == ".py" and not LEFT_OUT & set(file.parts)}
    left = SOURCE_BYTES
    for name in sorted(named, key=lambda name: blake2b(name.encode()).digest()):
        file = Path(str(named[name].locate()))
        left -= file.stat().st_size
        if left < 0:
            return
        yield file


def _docstrings(file: Path) -> str:
    """What the docstrings of a source file say."""
    source = file.read_text(encoding="utf-8", errors="replace")
    return "\n\n".join(cleandoc(docstring) for docstring in DOCSTRING.findall(source))


GATHER = {"library": _library, "packages": _packages}
VERSIONS: dict[str, Callable[[], dict[str, object]]] = {"library": dict, "packages": _versions}


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
