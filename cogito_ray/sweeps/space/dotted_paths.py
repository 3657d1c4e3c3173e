"""Dotted paths into a tree of specs: which exist, what stands there, and how one is set.

`loss.regularisers.0.variance` counts into lists; `data.sources.library.weight` names an entry of a mapping.
"""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NoReturn, TypeAlias, TypeGuard, get_args, get_origin

from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo

from cogito_ray.base_spec import brief, nearest
from cogito_ray.spec_registry import annotation_of, members

Tree = dict[str, JsonValue]
Keys: TypeAlias = tuple[str | int, ...]
"""A path, key by key: the keys of a mapping may have dots in them."""


def kinds_at(root: type[BaseModel], path: str) -> set[type]:
    """The types that may stand at `path`, over all members of unions on the way; empty if there is no such path."""
    return {_class_of(option) for option in options_at(root, path.split("."))}


def options_at(root: type[BaseModel], keys: Iterable[str | int], given: JsonValue = None) -> list[object]:
    """The annotations that may stand there; of unions on the way, those members alone whose kind `given` has."""
    options: list[object] = [root]
    for key in keys:
        found = [inner for option in options for inner in _step(option, str(key))]
        given = _inside(given, key)
        options = [flat for inner in found for flat in members(inner) if _may_be(flat, given)]
    return options


def fields_at(root: type[BaseModel], keys: Iterable[str | int], given: JsonValue = None) -> list[str]:
    """Names of the settings that there are at this place, of what `given` has there where that tells."""
    models = [option for option in options_at(root, keys, given) if _is_model(option)]
    named = [field.alias or name for model in models for name, field in model.model_fields.items()]
    return list(dict.fromkeys(named))


def kinds_of(options: Iterable[object]) -> list[str]:
    """The kinds among these annotations."""
    models = (option for option in options if _is_model(option) and "kind" in option.model_fields)
    return [str(model.model_fields["kind"].default) for model in models]


def same_name(root: type[BaseModel], name: str) -> list[str]:
    """Up to three paths of settings that are called so, wherever they are."""
    return [path for path in dict.fromkeys(every_path(root)) if path.rpartition(".")[2] == name][:3]


def default_at(root: type[BaseModel], path: str) -> JsonValue:
    """What stands at `path` when nobody sets it, parts as mappings; None when that cannot be said."""
    here: object = root
    for key in path.split("."):
        if isinstance(here, BaseModel):
            here = getattr(here, key, None)
        elif isinstance(here, type) and issubclass(here, BaseModel) and key in here.model_fields:
            here = _unset(here.model_fields[key])
        else:
            return None
    if isinstance(here, BaseModel):
        part: Tree = here.model_dump(mode="json")
        return part
    return here if isinstance(here, bool | int | float | str) else None


def near(root: type[BaseModel], path: str) -> list[str]:
    """Up to three paths that `path` may have meant, best first."""
    known = sorted(set(every_path(root)), key=lambda other: (other.count("."), other))  # rather one that is less deep
    leaf = path.rpartition(".")[2]
    repaired = [fixed for fixed in _repaired(root, path.split(".")) if fixed != path and kinds_at(root, fixed)]
    same_leaf = [candidate for candidate in known if candidate.rpartition(".")[2] == leaf]
    meant = dict.fromkeys([*repaired, *same_leaf, *difflib.get_close_matches(path, known, n=3, cutoff=0.7)])
    return [other for other in meant if other != path][:3]


def _repaired(root: type[BaseModel], keys: Sequence[str]) -> Iterator[str]:
    """`keys` with each that nothing reads replaced by what is nearest to it there."""
    done: list[str] = []
    for place, key in enumerate(keys):
        if not options_at(root, [*done, key]):
            meant = nearest(key, fields_at(root, done), 1)
            if not meant:       # nothing further inside can be read either
                done += keys[place:]
                break
            key = meant[0]
        done.append(key)
    yield ".".join(done)


def every_path(root: type[BaseModel], stem: str = "") -> Iterator[str]:
    """Every dotted path of named fields, whole sub-trees included; entries of lists and mappings are left out."""
    for name, field in root.model_fields.items():
        yield stem + name
        for option in _models(annotation_of(field)):
            yield from every_path(option, f"{stem}{name}.")


def overlap(one: str, two: str) -> bool:
    """Is one path the other, or a part of it?"""
    return f"{one}.".startswith(f"{two}.") or f"{two}.".startswith(f"{one}.")


def get(tree: JsonValue, path: str | Keys) -> JsonValue:
    """What `tree` has at `path`; None if it has nothing there."""
    for key in path.split(".") if isinstance(path, str) else path:
        tree = _inside(tree, key)
    return tree


def put(tree: Tree, path: str | Sequence[str], value: JsonValue) -> None:
    """Set `path` in `tree` in place, making the mappings on the way. Raises ValueError where the way is blocked."""
    *parents, leaf = path.split(".") if isinstance(path, str) else path
    path = ".".join([*parents, leaf])
    here: JsonValue = tree
    for depth, key in enumerate(parents):
        if isinstance(here, dict):
            here = here.setdefault(key, {})
        elif isinstance(here, list) and key.isdigit() and int(key) < len(here):
            here = here[int(key)]
        else:
            _blocked(path, ".".join(parents[:depth]), here)
    if isinstance(here, dict):
        here[leaf] = value
    elif isinstance(here, list) and leaf.isdigit() and int(leaf) < len(here):
        here[int(leaf)] = value
    else:
        _blocked(path, ".".join(parents), here)


def is_weight(path: str) -> bool:
    """Is it how often a source is read? It makes no other corpus."""
    return path.startswith("data.sources.") and path.endswith(".weight")


def above(path: str) -> list[str]:
    """The paths that `path` lies in, widest first."""
    keys = path.split(".")
    return [".".join(keys[:depth]) for depth in range(1, len(keys))]


def _blocked(path: str, place: str, found: JsonValue) -> NoReturn:
    if isinstance(found, list):
        raise ValueError(f"{place}: has {len(found)} entries, counted from 0, so that {path} cannot be set")
    raise ValueError(f"{place}: should be a mapping, for {path} is set in it; got {brief(found)}")


def _step(option: object, key: str) -> Iterator[object]:
    """The annotations one key further down."""
    origin, arguments = get_origin(option), get_args(option)
    if isinstance(option, type) and issubclass(option, BaseModel):
        yield from (annotation_of(field) for name, field in option.model_fields.items() if key == (field.alias or name))
    elif origin is dict:
        yield arguments[1]
    elif origin in (tuple, list) and key.isdigit():
        yield arguments[0]


def _inside(given: JsonValue, key: str | int) -> JsonValue:
    if isinstance(given, dict):
        return given.get(str(key))
    return given[int(key)] if isinstance(given, list) and str(key).isdigit() and int(key) < len(given) else None


def _may_be(option: object, given: JsonValue) -> bool:
    """Is `given` of the kind that `option` is, as far as both say one?"""
    kind = given.get("kind") if isinstance(given, dict) else None
    return kind is None or not _is_model(option) or kinds_of([option]) in ([], [kind])


def _is_model(option: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(option, type) and issubclass(option, BaseModel)


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    for option in members(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel):
            yield option


def _class_of(option: object) -> type:
    if get_origin(option) is Literal:
        return type(get_args(option)[0])
    return get_origin(option) or (option if isinstance(option, type) else object)


def _unset(field: FieldInfo) -> object:
    """A field's default; where it has none, its only spec type, whose own defaults may still be asked for."""
    if not field.is_required():
        return field.default
    models = list(_models(annotation_of(field)))
    return models[0] if len(models) == 1 else None
