"""Trees of settings as YAML, and the differences of two as dotted lines."""

import math

import yaml
from pydantic import JsonValue

from cogito_ray.sweeps.yaml_io.yaml_parser import SCALARS


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


class _Dumper(yaml.SafeDumper):
    """No anchors: a sub-tree used twice is written twice. Text that YAML 1.2 takes for a number is quoted, 1e3 for one,
    which the library, whose YAML is 1.1, leaves as it is."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def quoted(self, text: str) -> yaml.ScalarNode:
        looks_otherwise = any(pattern.fullmatch(text) for pattern, _ in SCALARS.values())
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="'" if looks_otherwise else None)


_Dumper.add_representer(str, _Dumper.quoted)
