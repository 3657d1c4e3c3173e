"""What is gathered from documentation is prose, each paragraph once."""

import importlib.metadata
from pathlib import Path

import pytest

from cogito_ray.text.data_digests import differences
from cogito_ray.text.sources.python_docs import (
    DOCSTRING,
    PythonDocsSpec,
    _documents,
    _package_files,
    _paragraphs,
    packages,
)

SOURCE = '''#!/usr/bin/env python
# A comment.
"""The module."""

TEMPLATE = """not documentation"""


class Thing(Base):
    r"""The class."""

    def method(self, a: int = 3,
               b: str = "x") -> None:

        """The method."""
        call("""not documentation either""")
'''


def test_docstrings_are_told_from_other_strings() -> None:
    assert DOCSTRING.findall(SOURCE) == ["The module.", "The class.", "The method."]


def test_paragraphs_keep_prose_and_drop_the_rest() -> None:
    text = """
    Read :class:`the file <io.File>` and ``close`` it,
    whatever happens in between.

    >>> a_doctest("that is long enough to be a paragraph")

    Copyright (c) by somebody who reserves all of the rights to it.

    ========  =========================================
    column    another column of the table that is long

    x = {"a": [1, 2], "b": [3, 4]}; y = f(x)[0](**{"c": 5})

    Too short.
    """
    assert list(_paragraphs(text)) == ["Read the file and close it, whatever happens in between."]


def test_a_repeated_paragraph_is_kept_once() -> None:
    first, second, shared = (f"This is the {name} paragraph, " + "of a length " * 15 for name in ("one", "two", "same"))
    documents = list(_documents([f"{first}\n\n{shared}", f"{second}\n\n{shared}"]))
    assert documents == [f"{first.strip()}\n\n{shared.strip()}", second.strip()]


def test_the_library_is_gathered_once_and_read_in_parts(tmp_path: Path) -> None:
    spec = PythonDocsSpec(part="library")
    assert not spec.is_gathered(tmp_path)
    spec.gather(tmp_path)
    assert spec.is_gathered(tmp_path)
    found = [each.text() for part in spec.parts(tmp_path) for each in part.read()]
    assert len(found) > 200
    assert sum(map(len, found)) > 1_000_000
    assert len(set(found)) == len(found)


def test_the_packages_that_are_read_are_those_that_the_project_locks() -> None:
    locked = (Path(__file__).parents[2] / "requirements.lock").read_text().split()
    assert list(packages()) == [line.partition("==")[0] for line in locked]


def test_installing_another_package_changes_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = PythonDocsSpec(part="packages")
    fingerprint = spec.fingerprint()
    told = tmp_path / "stranger-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n\nProse of a stranger.\n")
    (tmp_path / "stranger.py").write_text('"""A docstring."""\n')
    (told / "RECORD").write_text("stranger.py,,\nstranger-1.0.dist-info/METADATA,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "stranger" in {found.metadata["Name"] for found in importlib.metadata.distributions()}
    assert spec.fingerprint() == fingerprint
    assert all(tmp_path not in file.parents for file in _package_files())


def test_another_version_of_a_package_is_told_by_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = PythonDocsSpec(part="packages").fingerprint()
    told = tmp_path / "numpy-999.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 999.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert differences(before, PythonDocsSpec(part="packages").fingerprint(), stamps=True) == [
        "packages that changed: numpy"
    ]
