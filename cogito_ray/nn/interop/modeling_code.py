"""Self-contained modelling code of one model, made from the source of this package: one file of torch and transformers,
to lie beside its weights for `trust_remote_code`.

Definitions that the model needs are taken as they are written, in the order in which modules import each other. Kinds
that it does not use are left out of their unions; what `plain_settings` defines stands in for what else has that name.
"""

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path

from cogito_ray.nn.model import ModelSpec
from cogito_ray.plugins import parts

FILE = "modeling_cogito_concepts.py"
CLASSES, PLAIN = (f"cogito_ray.nn.interop.{name}" for name in ("transformers_model", "plain_settings"))
AUTO_MAP = {
    "AutoConfig": "modeling_cogito_concepts.ConceptConfig",
    "AutoModel": "modeling_cogito_concepts.ConceptEncoder",
    "AutoModelForMaskedLM": "modeling_cogito_concepts.ConceptForMaskedLM",
    "AutoModelForSequenceClassification": "modeling_cogito_concepts.ConceptForSequenceClassification",
}
"""Of config.json: the class of FILE that an Auto class of transformers loads."""
HEADER = '''"""A concept encoder: all that its Auto classes need besides torch and transformers.

Made by cogito-ray from its own modules. SPDX-License-Identifier: Apache-2.0
"""'''


def modeling_code(spec: ModelSpec) -> str:
    """Python that defines the classes of AUTO_MAP for a model of these settings. ValueError where two definitions would
    have one name, as a plugin's may."""
    kinds = {type(part) for part in parts(spec)}
    packages = {"cogito_ray", *(kind.__module__.partition(".")[0] for kind in kinds)}
    code = _Code({kind.__name__ for kind in kinds}, packages)
    for kind in sorted(kinds, key=lambda kind: kind.__name__):
        code.take(kind.__module__, kind.__name__)
    for name in AUTO_MAP.values():
        code.take(CLASSES, name.partition(".")[2])
    return code.text()


class _Module:
    """The source of one, taken apart."""

    def __init__(self, source: str):
        self.lines = source.splitlines()
        self.definitions: dict[str, ast.stmt] = {}                  # at the top level, by name
        self.ends: dict[str, int] = {}                              # last line of each, with the docstring below it
        self.imports: dict[str, tuple[str, str]] = {}               # name -> module, and name there: "" = the module
        for node, below in pairwise([*ast.parse(source).body, ast.Pass()]):
            match node:
                case ast.Import():
                    self.imports |= {each.asname or each.name: (each.name, "") for each in node.names}
                case ast.ImportFrom():
                    self.imports |= {each.asname or each.name: (str(node.module), each.name) for each in node.names}
            documents = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            for name in _defined(node):
                self.definitions[name] = node
                self.ends[name] = int((below if documents else node).end_lineno or 0)

    def text(self, name: str, kinds: Collection[str]) -> str:
        """Of a definition; of a union, with only the members in `kinds`."""
        node = self.definitions[name]
        if union := _union(node):
            kept = " | ".join(each for each in _members(union) if each in kinds)
            return f"{name} = Annotated[{kept or None}, {ast.unparse(union.elts[1])}]"
        first = min(each.lineno for each in (node, *getattr(node, "decorator_list", ())))
        return "\n".join(self.lines[first - 1 : self.ends[name]])

    def needed(self, name: str, kinds: Collection[str]) -> Iterator[str]:
        """Names that this text holds."""
        node = self.definitions[name]
        left_out = set(_members(union)) - set(kinds) if (union := _union(node)) else ()
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and part.id not in left_out:
                yield part.id
            elif isinstance(part, ast.Constant) and part.value in self.definitions:     # a class named ahead of its own
                yield str(part.value)


@dataclass(frozen=True)
class _Code:
    kinds: set[str]
    """Names of the classes of settings that the model uses."""
    packages: set[str]
    """Whose source is taken; others are imported."""
    origins: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Of every name in the code, as `_Module.imports`."""
    modules: dict[str, _Module] = field(default_factory=dict)

    def take(self, module: str, name: str) -> None:
        """What this name stands for in that module, with all that it needs."""
        source, plain = self._module(module), self._module(PLAIN)
        if name in plain.definitions and name[0] != "_" and module != PLAIN:
            self.take(PLAIN, name)
        elif name in source.imports:
            origin = source.imports[name]
            if origin[1] and origin[0].partition(".")[0] in self.packages:
                self.take(*origin)
            else:
                self._add(name, origin)
        elif name in source.definitions and self._add(name, (module, name)):
            for needed in source.needed(name, self.kinds):
                self.take(module, needed)

    def text(self) -> str:
        """All that was taken."""
        blocks = [
            self.modules[module].text(name, self.kinds)
            for module in self._in_order()
            for name in self.modules[module].definitions
            if self.origins.get(name) == (module, name)
        ]
        return "\n\n\n".join(["\n\n".join([HEADER, "\n".join(self._imports())]), *dict.fromkeys(blocks)]) + "\n"

    def _imports(self) -> Iterator[str]:
        named: dict[str, list[str]] = {}
        for name, (module, there) in sorted(self.origins.items()):
            if module not in self.modules and there:
                named.setdefault(module, []).append(name if name == there else f"{there} as {name}")
            elif module not in self.modules:
                yield f"import {module}" if name == module else f"import {module} as {name}"
        yield from (f"from {module} import {', '.join(names)}" for module, names in sorted(named.items()))

    def _in_order(self) -> list[str]:
        """Modules, each after those that it imports from."""
        ordered: dict[str, None] = {}

        def visit(name: str) -> None:
            for wanted in {origin for origin, _ in self.modules[name].imports.values()} & self.modules.keys():
                visit(wanted)
            ordered[name] = None

        for name in (PLAIN, *self.modules):
            visit(name)
        return list(ordered)

    def _module(self, name: str) -> _Module:
        if name not in self.modules:
            self.modules[name] = _parsed(Path(str(import_module(name).__file__)).read_text())
        return self.modules[name]

    def _add(self, name: str, origin: tuple[str, str]) -> bool:
        """Is it new? ValueError where it is taken by another thing."""
        if self.origins.get(name, origin) != origin:
            one, other = (".".join(filter(None, each)) for each in (self.origins[name], origin))
            raise ValueError(f"in modelling code, {name} would be both {one} and {other}; rename that of the plugin")
        known = name in self.origins
        self.origins[name] = origin
        return not known


_parsed = cache(_Module)


def _defined(node: ast.AST) -> Iterator[str]:
    """Names that a statement defines."""
    match node:
        case ast.FunctionDef() | ast.ClassDef():
            yield node.name
        case ast.Assign() | ast.AnnAssign():
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name))


def _union(node: ast.stmt) -> ast.Tuple | None:
    """Of `Name = Annotated[A | B, mark]`, what stands in the brackets."""
    match node:
        case ast.Assign(value=ast.Subscript(value=ast.Name("Annotated"), slice=ast.Tuple() as found)):
            return found
    return None


def _members(union: ast.Tuple) -> list[str]:
    return ast.unparse(union.elts[0]).split(" | ")
