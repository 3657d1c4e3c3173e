"""What pydantic finds wrong with a tree of settings, in words: place, what is wanted there, what was given."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from cogito_ray.base_spec import OTHER_WORDS, brief, did_you_mean, nearest
from cogito_ray.sweeps.space.dotted_paths import Keys, fields_at, kinds_of, options_at, same_name

TEXT, MAPPING = "text", "a mapping"
MISSING, UNREAD, KEY = "missing", "extra_forbidden", "[key]"
"""Pydantic's words for a fault, and for the place of a key."""
WANTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": TEXT,
    "none_required": "null",
    "model_type": MAPPING,
    "model_attributes_type": MAPPING,
    "dict_type": MAPPING,
    "list_type": "a list",
    "tuple_type": "a list",
}
"""Types of faults that say of which shape a value must be."""
OF_THE_WHOLE = {*WANTED, "too_short", "too_long", MISSING}
"""Types of faults that follow from faults inside a mapping or list."""
INTERNAL = re.compile(r".*[\[\](,]|constrained-|(bool|int|float|str|dict|list|tuple|none|\[key\])$")
"""What pydantic calls members of a union."""


class SweepFault(ValueError):
    """A file that says no valid sweep or run, with everything that is wrong with it."""

    def __init__(self, file: Path, faults: list[str]):
        self.file, self.faults = file, faults
        count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
        super().__init__("\n".join([f"{file}: {count}", *(f"  {fault}" for fault in faults)]))


def explain(error: ValidationError, given: JsonValue = None, kind: type[BaseModel] | None = None) -> list[str]:
    """One line per fault: its dotted place, what is wrong there, and what was given.

    `given`: what was validated, as a `kind`: with these, places hold no names but the user's own, and a key that
    nothing reads is told with those that were meant.
    """
    placed = [(_place(given, list(fault["loc"]), fault), fault) for fault in error.errors(include_url=False)]
    unread = [place for place, fault in placed if fault["type"] == UNREAD]
    misspelt = {meant for place in unread for meant in _meant(place, given, kind)}
    together: dict[Keys, list[ErrorDetails]] = {}
    for place, fault in placed:
        known = fault["type"] == MISSING and place in misspelt
        if not known and not _is_inside(place, fault, [other for other, _ in placed]):
            together.setdefault(place, []).append(fault)
    lines = [line for place, faults in together.items() for line in _lines(place, faults, given, kind)]
    return list(dict.fromkeys(lines))


def _meant(place: Keys, given: JsonValue, kind: type[BaseModel] | None) -> list[Keys]:
    """Settings beside the unknown key at `place` that it may stand for."""
    *above, key = place
    return [(*above, name) for name in nearest(str(key), fields_at(kind, above, given))] if kind else []


def _is_inside(place: Keys, fault: ErrorDetails, others: Sequence[Keys]) -> bool:
    """Is it about a mapping or list as a whole, where something is wrong further inside?"""
    if fault["type"] not in OF_THE_WHOLE or not isinstance(fault["input"], dict | list | tuple):
        return False
    return any(len(other) > len(place) and other[: len(place)] == place for other in others)


def _lines(place: Keys, faults: list[ErrorDetails], given: JsonValue, kind: type[BaseModel] | None) -> Iterator[str]:
    """Of several members of a union, those that take a value of this shape know best what is wrong with it."""
    shapes = [fault for fault in faults if fault["type"] in WANTED]
    if len(shapes) == len(faults):
        wanted = " or ".join(dict.fromkeys(WANTED[fault["type"]] for fault in shapes))
        found = shapes[0]["input"]
        yield f"{_dotted(place)}: should be {wanted}; got {brief(found)}{_way_out(place, wanted, found, kind)}"
    for fault in faults:
        if fault["type"] not in WANTED:
            yield from _said(place, fault, given, kind).splitlines()


def _way_out(place: Keys, wanted: str, found: object, kind: type[BaseModel] | None) -> str:
    if wanted == TEXT and isinstance(found, int | float):
        return "; write it in quotes"
    if wanted == MAPPING and isinstance(found, str) and found in _kinds(kind, place):
        return f"; write {{kind: {found}}}"
    return ""


def _said(place: Keys, fault: ErrorDetails, given: JsonValue, kind: type[BaseModel] | None) -> str:
    message, context = fault["msg"].removeprefix("Value error, "), fault.get("ctx", {})
    here, got = _dotted(place), "" if isinstance(fault["input"], dict | list) else f"; got {brief(fault['input'])}"
    match fault["type"]:
        case "value_error":
            if isinstance(inner := context.get("error"), ValidationError):
                message = "\n".join(explain(inner))
            return "\n".join(f"{here}: {line}" if here else line for line in message.splitlines())
        case "extra_forbidden":
            return f"{here}: {_unknown(place, given, kind)}"
        case "missing" if isinstance(fault["loc"][-1], int):
            return f"{here}: needs at least {fault['loc'][-1] + 1} entries; got {len(fault['input'])}"
        case "missing":
            return f"{here}: is missing; write it"
        case "union_tag_invalid":
            known, tag = re.findall(r"'([^']*)'", context["expected_tags"]), fault["input"]["kind"]
            return f"{here}.kind: there is no kind {brief(tag)}; {did_you_mean(nearest(str(tag), known), known)}"
        case "union_tag_not_found":
            return f"{here}.kind: is missing; {did_you_mean([], _kinds(kind, place))}"
        case "literal_error":
            known = re.findall(r"'([^']*)'", context["expected"])
            meant = nearest(str(fault["input"]), known)
            return f"{here}: {brief(fault['input'])} is not known here; {did_you_mean(meant, known)}"
        case "finite_number":
            return f"{here}: should be a finite number{got}"
        case "string_too_short":
            return f"{here}: is empty; write something, or leave it out"
        case "too_short" | "too_long":
            least, most = context.get("min_length"), context.get("max_length")
            return f"{here}: needs {f'at most {most}' if least is None else f'at least {least}'}{got or '; got none'}"
    return f"{here}: {message.removeprefix('Input ')}{got}"


def _unknown(place: Keys, given: JsonValue, kind: type[BaseModel] | None) -> str:
    """That nothing reads the key at `place`, and which was meant."""
    if kind is None:
        return "there is no such setting here; leave it out"
    beside = [str(meant[-1]) for meant in _meant(place, given, kind)]
    known = fields_at(kind, place[:-1], given)
    if place[-1] in known:
        return "does not go with what else stands here; leave it out"
    word, told = OTHER_WORDS.get(str(place[-1]), (str(place[-1]), ""))
    paths = [path for path in same_name(kind, word) if path != _dotted(place)]
    elsewhere = [f"{path} ({told})" if told else path for path in paths]
    return f"there is no such setting here; {did_you_mean(beside or elsewhere, known)}"


def _kinds(kind: type[BaseModel] | None, place: Keys) -> list[str]:
    """Values that `kind` may have at this place."""
    return kinds_of(options_at(kind, place)) if kind is not None else ["those that the schema lists"]


def _place(given: JsonValue, parts: list[str | int], fault: ErrorDetails) -> Keys:
    """Where in `given` the fault is: without what pydantic adds to tell members of unions apart."""
    found = _followed(given, parts, fault) if given is not None else None
    return tuple(part for part in parts if not INTERNAL.match(str(part))) if found is None else found


def _followed(here: JsonValue, parts: list[str | int], fault: ErrorDetails) -> Keys | None:
    if not parts:
        return () if here is fault["input"] or here == fault["input"] else None
    part, *rest = parts
    if fault["type"] == MISSING and not rest:
        return (part,) if isinstance(here, dict) else () if isinstance(here, list) else None
    if part == KEY and not rest:
        return ()
    inner: list[JsonValue] = []
    if isinstance(here, dict) and part in here:
        inner = [here[str(part)]]
    elif isinstance(here, list) and isinstance(part, int) and part < len(here):
        inner = [here[part]]
    for one in inner:
        if (found := _followed(one, rest, fault)) is not None:
            return (part, *found)
    return _followed(here, rest, fault)


def _dotted(place: Keys) -> str:
    return ".".join(str(part) for part in place)
