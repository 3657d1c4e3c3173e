"""The reference of every YAML key, as Markdown: types, constraints and prose from the JSON Schema of a Spec.

A mapping is explained once, at the shortest path that leads to it; elsewhere its key links there.
"""

import inspect
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from cogito_ray.base_spec import Spec

Node = dict[str, Any]
WORDS = {"integer": "int", "number": "float", "string": "str", "boolean": "bool", "null": "`null`"}
SCALARS = {"bool", "int", "float", "str"}
PLAIN = {*SCALARS, "`null`"}
BOUNDS = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
PAPER = re.compile(r"arXiv:(\d{4}\.\d{5})")


@dataclass(frozen=True)
class Place:
    """Where a mapping may stand: a dotted path, and which kind of it."""

    path: str
    definition: str
    kind: str = ""

    @property
    def anchor(self) -> str:
        return re.sub(r"[^a-z0-9_]+", "-", f"{self.path} {self.kind}".lower()).strip("-") or "top"


class Reference:
    def __init__(self, schema: Node):
        self.definitions = {"": schema, **schema.get("$defs", {})}
        self.explained = {"": Place("", "")}
        waiting = [Place("", "")]
        while waiting:
            for place in self._below(waiting.pop(0)):
                if self.explained.setdefault(place.definition, place) is place:
                    waiting.append(place)

    def markdown(self) -> str:
        return "\n".join([*self._keys(Place("", "")), *self._sections(Place("", ""))])

    def _sections(self, outer: Place) -> Iterator[str]:
        """A section a path below, each with what is below it; of several kinds, all of them first."""
        new = [place for place in self._below(outer) if self.explained[place.definition] == place]
        for path, group in groupby(new, key=lambda place: place.path):
            places = list(group)
            yield from (f"## `{path}` {{: #{Place(path, '').anchor} }}", "")
            for place in places:
                if place.kind:
                    yield from (f"### `{path}`: `{place.kind}` {{: #{place.anchor} }}", "")
                yield from self._keys(place)
            for place in places:
                yield from self._sections(place)

    def _keys(self, place: Place) -> Iterator[str]:
        node = self.definitions[place.definition]
        yield from (_docstring(node["title"]), "")
        for key, part in node.get("properties", {}).items():
            if "const" in part:
                continue
            default = "required" if key in node.get("required", ()) else f"default `{_default(part.get('default'))}`"
            anchor = f"{place.anchor}--{key}"
            yield f"[`{key}`](#{anchor}) <span>{self._type(part)} · {default}</span>"
            yield from (f"{{: #{anchor} .key }}", "")
            yield from (_linked(" ".join(part.get("description", "").split())), "")

    def _type(self, node: Node) -> str:
        """What may stand at a key, in words; mappings as links to where they are explained."""
        if "enum" in node:
            return " or ".join(f"`{value}`" for value in node["enum"])
        if "$ref" in node:
            return self._link(node["$ref"])
        if alternatives := [*node.get("anyOf", ()), *node.get("oneOf", ())]:
            types = list(dict.fromkeys(map(self._type, alternatives)))
            if set(types) >= SCALARS:
                types = ["scalar", *(name for name in types if name not in PLAIN)]
            return " or ".join(types)
        kind = node.get("type")
        if kind == "array":
            return f"list of {self._type(node['items'])}" if "items" in node else f"pair of {_pair(node)}"
        if kind == "object":
            return f"mapping of name to {' or '.join(map(self._type, _values(node))) or 'any value'}"
        bounds = [f"{sign} {node[bound]}" for bound, sign in BOUNDS.items() if bound in node]
        examples = [f"such as `{json.dumps(example)}`" for example in node.get("examples", ())[:1]]
        return " ".join([WORDS.get(str(kind), "any value"), ", ".join([*bounds, *examples])]).strip()

    def _link(self, reference: str) -> str:
        name = reference.rpartition("/")[2]
        if name not in self.explained:
            return "any value"
        place = self.explained[name]
        return f"[`{place.kind or 'mapping'}`](#{place.anchor})"

    def _below(self, place: Place) -> list[Place]:
        """Where the mappings stand that the keys of this one may hold."""
        keys = self.definitions[place.definition].get("properties", {}).items()
        return [below for key, part in keys for below in self._named(part, f"{place.path}.{key}".lstrip("."))]

    def _named(self, node: Node, path: str) -> Iterator[Place]:
        """Every mapping that may stand at `path`, in the elements of a list or under the names of a mapping there."""
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            if self.definitions[name].get("properties"):
                yield Place(path, name, _kind(self.definitions[name]))
        for part in [*node.get("anyOf", ()), *node.get("oneOf", ())]:
            yield from self._named(part, path)
        if isinstance(node.get("items"), dict):
            yield from self._named(node["items"], f"{path}.N")
        for part in _values(node):
            yield from self._named(part, f"{path}.NAME")


def _kind(definition: Node) -> str:
    """What tells a mapping from the others that may stand in its place: its kind, or the key that it alone has."""
    properties = definition["properties"]
    if "kind" not in properties and ("when" in properties or "of" in properties):
        return str(definition["required"][-1])
    return str(properties.get("kind", {}).get("const", ""))


def _values(node: Node) -> list[Node]:
    """Of the entries of a mapping whose names are the user's."""
    more = node.get("additionalProperties")
    return [*node.get("patternProperties", {}).values(), *([more] if isinstance(more, dict) else [])]


def _pair(node: Node) -> str:
    return ", ".join(WORDS[part["type"]] for part in node["prefixItems"])


def _default(value: object) -> str:
    if isinstance(value, dict) and value:
        return f"{{kind: {value['kind']}}}" if "kind" in value else "{...}"
    return json.dumps(value)


def _docstring(name: str) -> str:
    """Of the Spec; where its module holds no other, the first paragraph of the module's will do."""
    specs = list(dict.fromkeys(_subclasses(Spec)))      # one of two parents is found twice
    [spec] = [spec for spec in specs if spec.__name__ == name]
    alone = sum(other.__module__ == spec.__module__ for other in specs) == 1
    of_module = (inspect.getdoc(sys.modules[spec.__module__]) or "").split("\n\n")[0] if alone else ""
    return _linked(inspect.cleandoc(spec.__doc__ or of_module))


def _subclasses(spec: type[Spec]) -> Iterator[type[Spec]]:
    for child in spec.__subclasses__():
        yield child
        yield from _subclasses(child)


def _linked(text: str) -> str:
    """Prose of a docstring for readers of YAML: papers are links, and None is null."""
    return re.sub(r"\bNone\b", "`null`", PAPER.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", text))
