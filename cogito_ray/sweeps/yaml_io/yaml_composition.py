"""One tree of settings out of several texts: files that a file extends, and the file itself over them.

Mappings are merged key by key; lists and single values are replaced, and so are a mapping of another `kind` and an axis
of `space`. `plugins` are added to those of extended files. `null` takes an inherited key out, except where null is a
value of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import BaseModel, JsonValue

from cogito_ray.base_spec import brief
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.space.dotted_paths import Keys, Tree, above, options_at
from cogito_ray.sweeps.space.validation_messages import SweepFault
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.sweeps.yaml_io.yaml_parser import LARGEST, NotSettings, parse

EXTENDS, PLUGINS, RUN, SPACE = "extends", "plugins", "run", "space"
DEEPEST = 8
"""Files that extend each other."""
ONLY_OF_SWEEPS = SweepSpec.model_fields.keys() - RunSpec.model_fields.keys()


class _CannotExtend(ValueError):
    """Why a file cannot extend another."""


@dataclass(frozen=True)
class Composed:
    """One tree of settings out of a file, what it extends, and arguments; and where each of them was written."""

    tree: Tree
    origins: dict[str, str]
    """Where each dotted place of the tree was written: `line 3`, `line 3 of base.yaml`, `argument seed=1`; empty where
    that is no file."""

    @property
    def is_sweep(self) -> bool:
        """Has it any part that no run has?"""
        return not ONLY_OF_SWEEPS.isdisjoint(self.tree)

    def origin(self, place: str) -> str | None:
        """Of the place, or of the narrowest one around it that is there."""
        around = [place, *reversed(above(place))]
        return next((self.origins[part] for part in around if part in self.origins), None)


def compose(file: Path) -> Composed:
    """What a file says, over what it extends. Raises SweepFault."""
    return _read(file, (), "")


def compose_mapping(text: str, called: Path) -> Composed:
    """The same for a mapping that stands in no file, as JSON: places in it have no lines, and what it extends is found
    from the working directory. `called`: what faults call it."""
    try:
        tree = parse(text.encode()).tree
    except NotSettings as error:
        raise SweepFault(called, error.faults) from None
    own = Composed(tree, dict.fromkeys(places(tree), ""))
    return _over_bases(own, called, (called.resolve(),))


def _read(file: Path, extending: tuple[Path, ...], of_file: str) -> Composed:
    """`extending`: the real paths of those that led here. `of_file`: what a line's number is followed by."""
    try:
        with file.open("rb") as stream:
            settings = parse(stream.read(LARGEST + 1))
    except OSError as error:
        raise SweepFault(file, [f"cannot be read: {error.strerror}"]) from error
    except NotSettings as error:
        raise SweepFault(file, error.faults) from None
    lines = ((place, settings.line(place)) for place in places(settings.tree))
    own = Composed(settings.tree, {place: f"line {line}{of_file}" for place, line in lines})
    return _over_bases(own, file, (*extending, file.resolve()))


def _over_bases(own: Composed, file: Path, extending: tuple[Path, ...]) -> Composed:
    """What `file` says, over what it extends. Raises SweepFault."""
    _find_plugins(own.tree, file.parent)
    composed = Composed({}, {})
    for place, named in _extended(own):
        at = f" ({line})" if (line := own.origins[place].partition(" of ")[0]) else ""
        try:
            base = _found(file, named, extending)
            under = _read(base, extending, f" of {base}")
            fitted = _at_run(own, under, base) if place.startswith(f"{RUN}.") else _whole(own, under, base)
            composed = _merged(composed, fitted)
        except _CannotExtend as error:
            raise SweepFault(file, [f"{place}: {error}{at}"]) from None
    return _merged(composed, own)


def _find_plugins(tree: Tree, folder: Path) -> None:
    """Files among the plugins of a sweep or run get their whole paths: they are named from the folder of the YAML."""
    for part in (tree, tree.get(RUN)):
        if isinstance(part, dict) and isinstance(named := part.get(PLUGINS), list):
            part[PLUGINS] = [
                str((folder / one).absolute()) if isinstance(one, str) and one.endswith(".py") else one for one in named
            ]


def _extended(own: Composed) -> Iterator[tuple[str, JsonValue]]:
    """Places of what a file extends as a whole, and with its `run`, each with what stands there; both are taken out."""
    run = own.tree.get(RUN)
    for stem, tree in (("", own.tree), (f"{RUN}.", run if isinstance(run, dict) else {})):
        if EXTENDS in tree:
            given = tree.pop(EXTENDS)
            if isinstance(given, list):
                yield from ((f"{stem}{EXTENDS}.{number}", one) for number, one in enumerate(given))
            else:
                yield f"{stem}{EXTENDS}", given


def _found(file: Path, named: JsonValue, extending: tuple[Path, ...]) -> Path:
    """The file that `file` extends."""
    if not isinstance(named, str) or not named:
        raise _CannotExtend(f"takes the path of a YAML file, or a list of such; got {brief(named)}")
    base = file.parent / named
    if not base.is_file():
        raise _CannotExtend(f"{base} is no file; write its path from the folder of {file.name}, or an absolute one")
    if base.resolve() in extending:
        circle = extending[extending.index(base.resolve()) :]
        raise _CannotExtend(f"a circle: {' -> '.join(one.name for one in (*circle, base))}; take one of them out")
    if len(extending) > DEEPEST:
        raise _CannotExtend(f"more than {DEEPEST} files extend each other; put some of them together")
    return base


def _whole(own: Composed, base: Composed, file: Path) -> Composed:
    if own.is_sweep and not base.is_sweep and not base.tree.keys() <= SweepSpec.model_fields.keys():
        raise _CannotExtend(f"{file} describes a run; extend it where a sweep has its run: run: {{extends: ...}}")
    if base.is_sweep and not own.is_sweep and not own.tree.keys() <= SweepSpec.model_fields.keys():
        raise _CannotExtend(f"{file} describes a sweep, and this file a run; extend the file of a run")
    return base


def _at_run(own: Composed, base: Composed, file: Path) -> Composed:
    """The settings of a run where a sweep has them."""
    if base.is_sweep:
        raise _CannotExtend(f"{file} describes a sweep; extend it outside of run")
    inside = {f"{RUN}.{place}": origin for place, origin in base.origins.items()}
    return Composed({RUN: base.tree}, {RUN: own.origins[RUN], **inside})


def _merged(below: Composed, over: Composed) -> Composed:
    origins: dict[str, str] = {}
    sweep = below.is_sweep or over.is_sweep

    def take(one: Composed, value: JsonValue, keys: Keys) -> JsonValue:
        origins.update((place, one.origins[place]) for place in places(value, dotted(keys)))
        return value

    def merge(old: JsonValue, new: JsonValue, keys: Keys) -> JsonValue:
        if keys[-1:] == (PLUGINS,) and isinstance(old, list) and isinstance(new, list):    # each file needs its own
            place = dotted(keys)
            origins.update((f"{place}.{len(old) + n}", over.origins[f"{place}.{n}"]) for n in range(len(new)))
            return [*cast(list[JsonValue], take(below, old, keys)), *new]
        if not _mix(old, new, keys):
            return take(over, new, keys)
        assert isinstance(old, dict)
        assert isinstance(new, dict)
        merged: Tree = {}
        for key in dict.fromkeys([*old, *new]):
            here = (*keys, key)
            if key not in new:
                merged[key] = take(below, old[key], here)
            elif key not in old:
                merged[key] = take(over, new[key], here)
            elif new[key] is not None or not may_vanish(here, sweep=sweep):
                merged[key] = merge(old[key], new[key], here)
        origins.update({place: over.origins[place] for place in [dotted(keys)] if place})
        return merged

    tree = merge(below.tree, over.tree, ())
    assert isinstance(tree, dict)
    return Composed(tree, origins)


def _mix(old: JsonValue, new: JsonValue, keys: Keys) -> bool:
    """Are two values at one place merged key by key?"""
    if not (isinstance(old, dict) and isinstance(new, dict)) or (len(keys) == 2 and keys[0] == SPACE):
        return False
    return "kind" not in new or old.get("kind") == new["kind"]


def may_vanish(keys: Keys, *, sweep: bool) -> bool:
    """Is null no value of what stands there?"""
    root, inner = rooted(keys, sweep=sweep)
    options = options_at(root, inner) if inner else [dict]
    return bool(options) and not any(option in (type(None), JsonValue) for option in options)


def rooted(keys: Keys, *, sweep: bool) -> tuple[type[BaseModel], Keys]:
    """What settings a place is of, and its keys in them."""
    return (RunSpec, keys[1:] if sweep else keys) if not sweep or keys[0] == RUN else (SweepSpec, keys)


def places(value: JsonValue, place: str = "") -> Iterator[str]:
    """Every dotted place inside a value, and its own, if that is not empty."""
    if place:
        yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, f"{place}.{key}" if place else str(key))


def dotted(keys: Keys) -> str:
    """Keys as a path; those with dots in them are not told apart any more."""
    return ".".join(str(key) for key in keys)
