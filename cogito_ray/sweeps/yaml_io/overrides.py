"""Settings that are changed where a command or a function is called: `training.steps=50`, checked like the file's own.

`null` takes out a key of the file, except where null is a value of its own.
"""

import copy
import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import JsonValue, TypeAdapter

from cogito_ray.base_spec import without_secrets
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.space.domains import KEYS, Sample
from cogito_ray.sweeps.space.dotted_paths import Tree, above, default_at, get, put
from cogito_ray.sweeps.space.validation_messages import SweepFault
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.yaml_io.yaml_composition import ONLY_OF_SWEEPS, RUN, Composed, dotted, may_vanish, places, rooted
from cogito_ray.sweeps.yaml_io.yaml_parser import NotSettings, value_of

HOLDS_PATHS = re.compile(
    r"space|space\..+\.bundle\.[^.]+|promote\.(with|scale)|scale\.sizes|(exclude|search\.start_with)\.\d+"
)
"""Places whose keys are dotted paths."""
_SAMPLE: TypeAdapter[Sample] = TypeAdapter(Sample)


def overridden(file: Path, composed: Composed, overrides: Sequence[str]) -> Composed:
    """What a file says, with these changes. Raises SweepFault with all that are none."""
    faults: list[str] = []
    for argument in overrides:
        try:
            composed = _changed(composed, argument)
        except ValueError as error:
            faults.append(f"{error} (argument {_shown(argument)})")
    if faults:
        raise SweepFault(file, faults)
    return composed


def _changed(composed: Composed, argument: str) -> Composed:
    path, sign, text = argument.partition("=")
    path = path.strip()
    if not sign or not path:
        raise ValueError("is no override; write the path of a setting and its value, such as training.steps=50")
    _refuse_other_sort(path, sweep=composed.is_sweep)
    try:
        value = value_of(text)
    except NotSettings as error:
        raise ValueError(f"{path}: {str(error).removeprefix(': ').removesuffix(' (line 1)')}") from None
    keys, tree = _keys_of(composed.tree, path), copy.deepcopy(composed.tree)
    place, told = ".".join(keys), f"argument {_shown(argument)}"
    kept = {other: origin for other, origin in composed.origins.items() if not f"{other}.".startswith(f"{place}.")}
    holder = get(tree, keys[:-1])
    if value is None and isinstance(holder, dict) and keys[-1] in holder and may_vanish(keys, sweep=composed.is_sweep):
        del holder[keys[-1]]
        return Composed(tree, kept)
    _name_kinds(tree, keys, sweep=composed.is_sweep)
    put(tree, keys, value)
    around = {part: told for part in above(place) if part not in kept}
    return Composed(tree, kept | around | dict.fromkeys([place, *places(value, place)], told))


def sample_of(arguments: Sequence[str]) -> Sample:
    """A point of a space, from `path=value` each, or from one YAML file that holds such a mapping. ValueError, with all
    faults, where one is neither."""
    if len(arguments) == 1 and "=" not in arguments[0]:
        return _SAMPLE.validate_python(value_of(Path(arguments[0]).read_text()))
    parts = [argument.partition("=") for argument in arguments]
    if faults := [f"{path}: is no value of an axis; write {path}=VALUE" for path, sign, _ in parts if not sign]:
        raise ValueError("\n".join(faults))
    return _SAMPLE.validate_python({path.strip(): value_of(text) for path, _, text in parts})


def _refuse_other_sort(path: str, *, sweep: bool) -> None:
    """A setting of a run in a sweep's file, which has them below `run`, or the other way round."""
    first, _, inside = path.partition(".")
    if sweep and first in RunSpec.model_fields.keys() - SweepSpec.model_fields.keys():
        raise ValueError(f"{path}: there is no such setting in a sweep; did you mean run.{path}?")
    if not sweep and first in ONLY_OF_SWEEPS:
        meant = f"; did you mean {inside}?" if first == RUN else "; take it out, or give the file of a sweep"
        raise ValueError(f"{path}: there is no such setting in a run{meant}")


def _keys_of(tree: Tree, path: str) -> tuple[str, ...]:
    """`path` key by key: of keys that have dots in them, the longest that is there, else what is left of the path."""
    keys: list[str] = []
    here: JsonValue = tree
    while path:
        known = [key for key in here if f"{path}.".startswith(f"{key}.")] if isinstance(here, dict) else []
        key = max(known, key=len, default=path.partition(".")[0])
        if not known and HOLDS_PATHS.fullmatch(".".join(keys)):
            key = path.rpartition(".")[0] if path.rpartition(".")[2] in (*KEYS, "when") else path
        keys.append(key)
        path, here = path[len(key) + 1 :], get(here, (key,))
    return tuple(keys)


def _name_kinds(tree: Tree, keys: tuple[str, ...], *, sweep: bool) -> None:
    """Where a setting is inside of a part that the file leaves at its default, that part is written out first."""
    for depth in range(1, len(keys)):
        root, inner = rooted(keys[:depth], sweep=sweep)
        default = default_at(root, dotted(inner)) if inner else None
        if get(tree, keys[:depth]) is None and isinstance(default, dict) and "kind" in default:
            put(tree, keys[:depth], default)


def _shown(argument: str) -> str:
    try:
        without_secrets(argument)
    except ValueError:
        argument = f"{argument.partition('=')[0]}=..."
    return argument if len(argument) <= 60 else f"{argument[:50]}..."
