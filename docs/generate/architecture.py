"""The picture of the architecture, as SVG, from the imports and the first docstring lines of the package itself.

A box a package, or module beside them; a line goes from a box to those below that it imports. Lines that follow from
others are left out, and so is what is imported upwards: the settings of a part, which stand beside its code. `testing`
imports what it tests, and nothing imports it: it is not drawn.
"""

import ast
import html
import textwrap
from collections.abc import Collection, Iterator
from pathlib import Path
from statistics import fmean

import cogito_ray

ROOT = Path(cogito_ray.__file__).parent
WIDTH, BOX, ROW = 744, 236, 118
"""Pixels: of the picture, of a box, and from the top of a row to the next."""
HEIGHT = 86
Graph = dict[str, set[str]]


def architecture() -> str:
    modules = {_name(file): ast.parse(file.read_text()) for file in sorted(ROOT.rglob("*.py"))}
    modules = {name: tree for name, tree in modules.items() if _package(name) not in ("", "__main__", "testing")}
    below = _downwards({name: set(_imports(tree, modules)) for name, tree in modules.items()})
    rows = _rows(below)
    boxes = _places(rows, below)
    said = {package: (ast.get_docstring(modules[package]) or "").split("\n\n")[0] for package in below}
    lines = _lines(_without_shortcuts(below), boxes)
    drawn = "".join([*lines, *(_box(package, said[package], *place) for package, place in boxes.items())])
    size = f'viewBox="0 0 {WIDTH} {ROW * len(rows)}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {STYLE}><title>Packages</title>{drawn}</svg>'


STYLE = 'font-family="system-ui, sans-serif" font-size="12" role="img"'


def _name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(tree: ast.Module, modules: Collection[str]) -> Iterator[str]:
    """Modules of the package that this one imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cogito_ray":
            base = str(node.module).removeprefix("cogito_ray").lstrip(".")
            named = [base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names)]
            yield from (name for name in named if name in modules)


def _downwards(imports: Graph) -> Graph:
    """What each package imports of others; within a circle of packages, what rests on fewer modules stands below."""
    whole: Graph = {_package(name): set() for name in imports}
    for name, used in imports.items():
        whole[_package(name)] |= {_package(other) for other in used} - {_package(name)}
    depth = _depths(imports)
    top = {package: max(depth[name] for name in imports if _package(name) == package) for package in whole}
    reached = {package: _reached(whole, package) for package in whole}
    return {package: {other for other in others if package not in reached[other] or top[other] < top[package]}
            for package, others in whole.items()}  # fmt: skip


def _package(module: str) -> str:
    return module.split(".")[0]


def _reached(graph: Graph, start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def _depths(graph: Graph) -> dict[str, int]:
    """The longest way from each name to one that leads nowhere."""
    found: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in found:
            found[name] = 0                                             # a package that names its own modules
            found[name] = 1 + max((depth(other) for other in graph[name]), default=0)
        return found[name]

    return {name: depth(name) for name in graph}


def _rows(below: Graph) -> list[list[str]]:
    """Packages from the top down, each as high as those that import it allow."""
    height = _depths({package: {other for other in below if package in below[other]} for package in below})
    levels = sorted(set(height.values()))
    return [sorted(package for package in below if height[package] == level) for level in levels]


def _places(rows: list[list[str]], below: Graph) -> dict[str, tuple[float, float]]:
    """Upper left corners. Packages of a row stand in the order of what imports them, so that few lines cross."""
    found: dict[str, tuple[float, float]] = {}

    def under(package: str) -> float:
        return fmean([x for other, (x, _) in found.items() if package in below[other]] or [0])

    for number, row in enumerate(rows):
        gap = (WIDTH - BOX * len(row)) / (len(row) + 1)
        ordered = sorted(row, key=under)
        found |= {package: (gap + place * (BOX + gap), 4 + number * ROW) for place, package in enumerate(ordered)}
    return found


def _without_shortcuts(below: Graph) -> Graph:
    """The graph without lines between boxes that a longer way joins as well."""
    far = {package: set().union(*(_reached(below, near) for near in nears)) for package, nears in below.items()}
    return {package: nears - far[package] for package, nears in below.items()}


def _lines(graph: Graph, boxes: dict[str, tuple[float, float]]) -> Iterator[str]:
    for package, nears in sorted(graph.items()):
        for near in sorted(nears):
            (x, y), (u, v) = boxes[package], boxes[near]
            x, y, u = x + BOX / 2, y + HEIGHT, u + BOX / 2
            path = f"M{x} {y} C{x} {y + 30} {u} {v - 30} {u} {v - 2}"
            yield f'<path d="{path}" fill="none" stroke="#7b8794" stroke-width="1.3"/>'


def _box(package: str, said: str, x: float, y: float) -> str:
    lines = textwrap.wrap(" ".join(said.replace("`", "").split()), 33, max_lines=4, placeholder=" ...")
    text = "".join(
        f'<text x="{x + 12}" y="{y + 36 + 14 * number}" fill="#394b59">{html.escape(line, quote=False)}</text>'
        for number, line in enumerate(lines)
    )
    return (
        f'<rect x="{x}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="6" fill="#f4f7fa" stroke="#3f51b5"/>'
        f'<text x="{x + 12}" y="{y + 19}" font-weight="bold" fill="#1a237e">{package}</text>{text}'
    )
