"""Everything public says what it is: modules, classes, functions, methods and properties have docstrings.

Public is what has no leading underscore, nor stands in something that has one. Covered elsewhere are special methods
(`__init__`, `__call__`, ...) and `forward` of a module, by their class; what overrides a method of a base class in this
package, by the method that it overrides; and tests of a contract suite, by their names.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "cogito_ray"
FILES = sorted(ROOT.rglob("*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def trees() -> dict[Path, ast.Module]:
    return {file: ast.parse(file.read_text()) for file in FILES}


@cache
def classes() -> dict[str, ast.ClassDef]:
    return {node.name: node for tree in trees().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def undocumented(file: Path) -> Iterator[str]:
    if not ast.get_docstring(trees()[file]):
        yield f"{file}:1: module"
    for node in trees()[file].body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield f"{file}:{node.lineno}: {node.name}"
            if isinstance(node, ast.ClassDef):
                yield from (f"{file}:{each.lineno}: {node.name}.{each.name}" for each in bare_methods(node))


def bare_methods(of: ast.ClassDef) -> Iterator[Function]:
    for node in of.body:
        if not isinstance(node, Function) or node.name.startswith(("_", "test_")) or node.name == "forward":
            continue
        if not ast.get_docstring(node) and not overrides(of, node.name):
            yield node


def overrides(of: ast.ClassDef, method: str) -> bool:
    bases = [classes()[base.id] for base in of.bases if isinstance(base, ast.Name) and base.id in classes()]
    return any(documents(base, method) or overrides(base, method) for base in bases)


def documents(of: ast.ClassDef, method: str) -> bool:
    return any(
        isinstance(node, Function) and node.name == method and ast.get_docstring(node) is not None for node in of.body
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_everything_public_says_what_it_is(file: Path):
    assert list(undocumented(file)) == []
