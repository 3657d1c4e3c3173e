"""Unions of Specs that are told apart by their `kind`, to which code outside the package may add.

A member that is registered is one as if the package named it: in YAML, in faults with what was meant, in JSON Schemas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import UnionType
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin

from pydantic import Field, GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from cogito_ray.base_spec import Spec, did_you_mean, nearest

UnionName: TypeAlias = Literal[
    "block", "contrast", "decoder", "early_stopping", "latents", "objective", "regulariser", "sampler", "token_stage",
    "weighting",
]
AnyKind = TypeVar("AnyKind", bound=type[Spec])
_own: dict[str, tuple[type[Spec], ...]] = {}
"""Members that the package itself names, by union; those alone whose modules are imported."""
_registered: dict[str, list[type[Spec]]] = {}


class OpenUnion:
    """Marks a union that plugins may add to: `Annotated[A | B, OpenUnion("regulariser")]`."""

    def __init__(self, name: UnionName, *, by_name: bool = False):
        """`by_name`: a member's kind alone stands for that member as it is by default."""
        self.name, self.by_name = str(name), by_name

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        _own[self.name] = get_args(source)
        union = Union[(*get_args(source), *registered(self.name))]  # type: ignore[valid-type]
        schema = handler.generate_schema(Annotated[union, Field(discriminator="kind")])
        return _by_name(schema, list(map(name_of, get_args(union)))) if self.by_name else schema


def register(name: UnionName) -> Callable[[AnyKind], AnyKind]:
    """Decorates a Spec that is a further member of a union: YAML may name its kind wherever the others may stand.

    ValueError if it is no Spec, has no kind or one that is taken, or lacks what all other members have.
    """
    if name not in get_args(UnionName):
        known = list(get_args(UnionName))
        raise ValueError(f"register: there is no union {name!r}; {did_you_mean(nearest(str(name), known), known)}")

    def add(spec: AnyKind) -> AnyKind:
        if fault := _fault(spec, name):
            raise ValueError(fault)
        _registered.setdefault(name, []).append(spec)
        _rebuild(name)
        return spec

    return add


def withdraw(spec: type[Spec]) -> None:
    """Take back what was registered."""
    for name, specs in _registered.items():
        if spec in specs:
            specs.remove(spec)
            _rebuild(name)


def registered(name: str | None = None) -> tuple[type[Spec], ...]:
    """Members that were added, to one union or to any."""
    return tuple(spec for union, specs in _registered.items() for spec in specs if name in (None, union))


def members(annotation: object) -> Iterator[object]:
    """Of a union, those added to it included, without Annotated around them; of anything else, itself."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from members(arguments[0])
        for mark in arguments[1:]:
            yield from registered(mark.name) if isinstance(mark, OpenUnion) else ()
    elif origin in (Union, UnionType):
        for argument in arguments:
            yield from members(argument)
    else:
        yield annotation


def annotation_of(field: FieldInfo) -> object:
    """Of a field, with the marks that pydantic keeps beside it."""
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def name_of(spec: type[Spec]) -> str:
    """The kind that a member is known by; empty if it has none."""
    field = spec.model_fields.get("kind")
    return str(field.default) if field is not None and get_origin(field.annotation) is Literal else ""


def _by_name(schema: CoreSchema, known: list[str]) -> CoreSchema:
    """What the schema takes, and the name of a kind."""

    def as_mapping(given: object) -> object:
        if isinstance(given, str) and given not in known:
            raise PydanticKnownError("literal_error", {"expected": ", ".join(map(repr, known))})
        return {"kind": given} if isinstance(given, str) else given

    either = core_schema.union_schema([core_schema.literal_schema(known), schema])
    return core_schema.no_info_before_validator_function(as_mapping, schema, json_schema_input_schema=either)


def _fault(spec: object, name: str) -> str:
    """Why it can be no further member; empty if it can."""
    if not (isinstance(spec, type) and issubclass(spec, Spec)):
        said = getattr(spec, "__name__", repr(spec))
        return f"register({name!r}): {said} is no Spec; derive it from cogito_ray.base_spec.Spec"
    kind, own = name_of(spec), _own.get(name, ())
    if not kind:
        return f'{spec.__name__} has no kind; write as its first field: kind: Literal["a_name"] = "a_name"'
    if taken := [one for one in (*own, *registered(name)) if name_of(one) == kind]:
        there = f"{taken[0].__module__}.{taken[0].__name__}"
        return f"{spec.__name__}: the kind {kind!r} of a {name} is taken by {there}; give it another name"
    common = set.intersection(*map(_public, own)) if own else set()
    if lacks := sorted(common - _public(spec)):
        return f"{spec.__name__} lacks {', '.join(lacks)}, which every other {name} has; see {own[0].__module__}"
    return ""


def _public(spec: type[Spec]) -> set[str]:
    """What a Spec has beyond the base of all."""
    names = {name for name in dir(spec) if not name.startswith("_") or name == "__call__"}
    return (names | set(spec.model_fields)) - set(dir(Spec))


def _rebuild(name: str) -> None:
    """Let pydantic see a union anew: the Specs it stands in, after those that stand in them."""
    done: dict[type[Spec], bool] = {}

    def holds(spec: type[Spec]) -> bool:
        if spec not in done:
            done[spec] = False      # where Specs hold each other in a circle
            found = [_holds(annotation_of(field), name, holds) for field in spec.model_fields.values()]
            if any(found):
                done[spec] = True
                spec.model_rebuild(force=True)
        return done[spec]

    for spec in list(_below(Spec)):
        holds(spec)


def _holds(annotation: object, name: str, of_spec: Callable[[type[Spec]], bool]) -> bool:
    """Does the union stand in it, or in a Spec that does? All are looked at."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return of_spec(annotation)
    marked = isinstance(annotation, OpenUnion) and annotation.name == name
    return any([marked, *(_holds(part, name, of_spec) for part in get_args(annotation))])


def _below(spec: type[Spec]) -> Iterator[type[Spec]]:
    for inner in spec.__subclasses__():
        yield inner
        yield from _below(inner)
