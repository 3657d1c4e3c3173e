"""What is gathered from documentation is prose, each paragraph once."""

from pathlib import Path

from cogito_ray.text.sources.python_docs import DOCSTRING, PythonDocsSpec, _documents, _paragraphs

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
