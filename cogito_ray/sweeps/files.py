"""YAML in and out: sweeps and runs from files, faults with their lines, differences as dotted lines.

Scalars are read as in YAML 1.2 (1e-3 is a number, `on` a word), and a key that stands twice is an error.
"""

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import JsonValue, ValidationError
from yaml.nodes import MappingNode, Node, SequenceNode

from cogito_ray.run import RunSpec
from cogito_ray.spec import Spec, explain
from cogito_ray.sweeps.domains import KEYS
from cogito_ray.sweeps.paths import Tree
from cogito_ray.sweeps.spec import SweepSpec

AnySpec = TypeVar("AnySpec", bound=Spec)
STAND_INS: Tree = {"name": "unnamed", "goals": [], "budget": {"trials": 1}}
"""For parts that no sweep can do without, while others are looked at."""


class SweepFault(ValueError):
    """A file that says no valid sweep or run, with everything that is wrong with it."""

    def __init__(self, file: Path, faults: list[str]):
        self.file, self.faults = file, faults
        count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
        super().__init__("\n".join([f"{file}: {count}", *(f"  {fault}" for fault in faults)]))


def load(path: Path | str) -> SweepSpec:
    """The sweep that a YAML file says. Raises SweepFault."""
    return _load(Path(path), SweepSpec, further=_further)


def load_run(path: Path | str) -> RunSpec:
    """The run that a YAML file says. Raises SweepFault."""
    return _load(Path(path), RunSpec)


def load_either(path: Path | str) -> SweepSpec | RunSpec:
    """The sweep, or the single run, that a YAML file says: a sweep has a `space`. Raises SweepFault."""
    tree, _ = _read(Path(path))
    return load(path) if "space" in tree else load_run(path)


def dump(tree: JsonValue) -> str:
    """`tree` as YAML in its own order, innermost lists and mappings on one line."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=100, allow_unicode=True)


def inline(value: JsonValue) -> str:
    """`value` as YAML on one line."""
    said = yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=True, width=math.inf)
    return said.removesuffix("...\n").strip()


def diff(old: JsonValue, new: JsonValue, place: str = "") -> list[str]:
    """One line per setting that differs between two trees: `dotted.place: old -> new`."""
    if old == new:
        return []
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [f"{place}: {inline(old)} -> {inline(new)}"]
    lines = []
    for key in dict.fromkeys([*old, *new]):
        here = f"{place}.{key}" if place else key
        if key not in new:
            lines.append(f"{here}: {inline(old[key])} -> (absent)")
        elif key not in old:
            lines.append(f"{here}: (absent) -> {inline(new[key])}")
        else:
            lines += diff(old[key], new[key], here)
    return lines


def _load(
    file: Path, kind: type[AnySpec], further: Callable[[Tree, set[str]], list[str]] = lambda tree, faulty: []
) -> AnySpec:
    """`further`: what else is wrong with a tree of which these parts are faulty in themselves."""
    tree, lines = _read(file)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        faulty = {str(fault["loc"][0]) for fault in error.errors() if fault["loc"]}
        told = [*explain(error), *(further(tree, faulty) if faulty else [])]
        found = [_untagged(line) for fault in told for line in fault.splitlines()]
        raise SweepFault(file, [_with_line(fault, lines) for fault in dict.fromkeys(found)]) from error


def _further(tree: Tree, faulty: set[str]) -> list[str]:
    """What would be told of a sweep next, once its faulty parts were mended: here they are left out."""
    rest = {name: part for name, part in tree.items() if name not in faulty}
    try:
        SweepSpec.model_validate(STAND_INS | rest)
    except ValidationError as error:
        depend = faulty | ({"budget"} if "search" in faulty else set())  # a grid says how many trials there are
        lines = [line for fault in explain(error) for line in fault.splitlines()]
        return [line for line in lines if re.split(r"[:.]", line, maxsplit=1)[0] not in depend]
    return []


def _read(file: Path) -> tuple[Tree, dict[str, int]]:
    """The tree a file holds, and the line of each dotted place in it."""
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise SweepFault(file, [f"cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise SweepFault(file, [f"is not UTF-8: {error.reason} at byte {error.start}"]) from error
    except yaml.MarkedYAMLError as error:
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise SweepFault(file, [f"is not YAML: {error.problem}{line}"]) from error
    if not isinstance(root, MappingNode):
        raise SweepFault(file, ["holds no mapping of settings; see search_spaces/quickstart.yaml for one"])
    if repeats := list(_repeats(root, ())):
        raise SweepFault(file, repeats)
    tree: Tree = _Loader("").construct_document(root)
    return tree, dict(_lines(root, ()))


def _repeats(node: Node, place: tuple[str, ...]) -> Iterator[str]:
    first: dict[str, int] = {}
    for key, line, child in _children(node):
        where = (*place, key)
        if key in first:
            yield f"{'.'.join(where)}: stands twice, at lines {first[key]} and {line}; keep one"
        first.setdefault(key, line)
        yield from _repeats(child, where)


def _lines(node: Node, place: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    for key, line, child in _children(node):
        yield ".".join((*place, key)), line
        yield from _lines(child, (*place, key))


def _children(node: Node) -> list[tuple[str, int, Node]]:
    """Name, line and node of each entry."""
    if isinstance(node, MappingNode):
        return [(str(key.value), key.start_mark.line + 1, value) for key, value in node.value]
    if isinstance(node, SequenceNode):
        return [(str(index), value.start_mark.line + 1, value) for index, value in enumerate(node.value)]
    return []


def _untagged(fault: str) -> str:
    """Without the name by which pydantic tells a domain apart, where the domain's own key follows it."""
    fault = re.sub(rf"\.({'|'.join(KEYS)})\.(?=\1\b|step\b)", ".", fault)
    return re.sub(r"(?<=\.ratio)\.(choice|uniform)\.(?=of\b)", ".", fault)


def _with_line(fault: str, lines: dict[str, int]) -> str:
    place = re.split(r"[:=]", fault, maxsplit=1)[0]
    while place:
        if place in lines:
            return f"{fault} (line {lines[place]})"
        place = place.rpartition(".")[0]
    return fault


class _Loader(yaml.SafeLoader):
    """Plain scalars by the core schema of YAML 1.2."""

    yaml_implicit_resolvers = {}


class _Dumper(yaml.SafeDumper):
    """No anchors: a sub-tree used twice is written twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True


_CORE = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    "float": (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    "merge": (r"<<", ["<"]),
}
for _kind, (_pattern, _starts) in _CORE.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"^(?:{_pattern})$"), _starts)
