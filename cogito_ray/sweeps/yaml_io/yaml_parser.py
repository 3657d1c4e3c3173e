"""YAML text to plain values with the line of each place; whatever no person writes there is a fault with its line.

Scalars are read as in YAML 1.2 (1e-3 is a number, `on` a word), and nothing is built but null, true, false, numbers,
text, lists and mappings. The text is bounded in size, depth and in what its aliases expand to, so that reading it ends.
"""

import copy
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import yaml
from pydantic import JsonValue
from yaml.reader import ReaderError

from cogito_ray.base_spec import brief, without_secrets
from cogito_ray.sweeps.space.dotted_paths import Tree, above

LARGEST = 2**18
"""Bytes: parsing as many takes seconds."""
DEEPEST = 40
"""Mappings and lists inside each other."""
MOST = 50_000
"""Values, those that aliases stand for included."""
DIGITS = 18
"""Of a whole number: as many as 64 bits hold."""
LONGEST_KEY = 200
"""Characters."""
CORE = "tag:yaml.org,2002:"
MERGE = "<<"
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters, those that turn the direction of writing included: text would not be what it looks like."""
LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


class NotSettings(ValueError):
    """What is wrong with a text, one message each."""

    def __init__(self, *faults: str):
        self.faults = list(faults)
        super().__init__("\n".join(faults))


@dataclass(frozen=True)
class Settings:
    """What a text in YAML says, and on which line."""

    tree: Tree
    lines: dict[str, int]
    """Of each dotted place that stands in the text itself."""
    aliases: dict[str, str]
    """Places that stand elsewhere in the text, and where."""

    def line(self, place: str) -> int | None:
        """Of the place, or of the narrowest one around it that is there."""
        if place in self.lines:
            return self.lines[place]
        for part in [place, *reversed(above(place))]:
            if part in self.aliases:
                return self.line(self.aliases[part] + place.removeprefix(part))
            if part in self.lines:
                return self.lines[part]
        return None


def parse(content: bytes) -> Settings:
    """The settings that a file's content says. Raises NotSettings."""
    if len(content) > LARGEST:
        raise NotSettings(f"is larger than {LARGEST // 1024} KiB, as no settings are: is it another file?")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise NotSettings(f"is not UTF-8: {error.reason} at byte {error.start} (line {line})") from None
    return _Reader(text).settings()


def value_of(text: str) -> JsonValue:
    """The value that a text says, of whatever shape. Raises NotSettings."""
    return _Reader(text).value()


@dataclass(frozen=True)
class _Anchored:
    place: str
    value: JsonValue
    size: int


@dataclass
class _Reader:
    text: str
    _lines: dict[str, int] = field(default_factory=dict)
    _aliases: dict[str, str] = field(default_factory=dict)
    _repeats: list[str] = field(default_factory=list)
    _anchors: dict[str, _Anchored | None] = field(default_factory=dict)
    """None while it is being read."""
    _size: int = 0

    def settings(self) -> Settings:
        tree = self.value()
        if not isinstance(tree, dict):
            raise NotSettings("holds no mapping of settings, such as those of search_spaces/quickstart.yaml")
        return Settings(tree, self._lines, self._aliases)

    def value(self) -> JsonValue:
        self._events: Iterator[yaml.Event] = yaml.parse(self.text, Loader=yaml.SafeLoader)
        try:
            tree = self._document()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise _fault(f"is not YAML: {error.problem or error.context}", mark.line + 1 if mark else 1) from None
        except ReaderError as error:
            line = self.text.count("\n", 0, error.position) + 1
            raise _fault(f"is not YAML: holds the character {_code(error.character)}; delete it", line) from None
        if self._repeats:
            raise NotSettings(*self._repeats)
        return tree

    def _document(self) -> JsonValue:
        next(self._events)
        if not isinstance(next(self._events), yaml.DocumentStartEvent):
            return None
        tree = self._value(next(self._events), "", 0)
        next(self._events)
        if isinstance(event := next(self._events), yaml.DocumentStartEvent):
            raise _at(event, "is not YAML: a second document begins; give it a file of its own")
        return tree

    def _value(self, event: yaml.Event, place: str, depth: int) -> JsonValue:
        if depth > DEEPEST:
            raise _at(event, f"is nested more than {DEEPEST} deep, as no settings are")
        self._count(event, 1)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, place)
        assert isinstance(event, yaml.NodeEvent)
        anchor, before = event.anchor, self._size
        self._anchors |= {anchor: None} if anchor else {}
        value: JsonValue
        if isinstance(event, yaml.MappingStartEvent):
            _refuse_tag(event, "map")
            value = self._mapping(place, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            _refuse_tag(event, "seq")
            value = self._list(place, depth)
        else:
            value = _scalar(event, place)
        self._anchors |= {anchor: _Anchored(place, value, self._size - before + 1)} if anchor else {}
        return value

    def _alias(self, event: yaml.AliasEvent, place: str) -> JsonValue:
        name = str(event.anchor)
        found = self._anchors.get(name)
        if found is None:
            why = "stands for what it is in" if name in self._anchors else "is named by nothing before it"
            raise _at(event, f"{place}: *{name[:LONGEST_KEY]} {why}; write the value itself")
        self._count(event, found.size)
        self._aliases[place] = found.place
        return copy.deepcopy(found.value)

    def _list(self, place: str, depth: int) -> JsonValue:
        items: list[JsonValue] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            here = _join(place, str(len(items)))
            self._lines[here] = _line(event)
            items.append(self._value(event, here, depth + 1))
        return items

    def _mapping(self, place: str, depth: int) -> JsonValue:
        entries: Tree = {}
        merged: Tree = {}
        first: dict[str, int] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            name, line = _key(event, place), _line(event)
            here = _join(place, name)
            if name in first:
                self._repeats.append(f"{here}: stands twice, at lines {first[name]} and {line}; keep one")
            first.setdefault(name, line)
            self._lines[here] = line
            value = self._value(next(self._events), here, depth + 1)
            if name == MERGE:
                merged = self._merged(value, here, line)
            else:
                entries[name] = value
        return merged | entries

    def _merged(self, value: JsonValue, here: str, line: int) -> Tree:
        """What `<<: *base`, or a list of such, adds to the mapping around it; the earlier of the list counts."""
        bases = {f"{here}.{n}": one for n, one in enumerate(value)} if isinstance(value, list) else {here: value}
        found: Tree = {}
        for where, base in bases.items():
            if not isinstance(base, dict):
                raise _fault(f"{here}: takes a mapping, such as *base, or a list of them; got {brief(base)}", line)
            for name in base.keys() - found.keys():
                self._aliases[_join(here.removesuffix(MERGE).removesuffix("."), name)] = f"{where}.{name}"
            found = base | found
        return found

    def _count(self, event: yaml.Event, more: int) -> None:
        self._size += more
        if self._size > MOST:
            raise _at(event, f"holds more than {MOST:,} values, those that aliases stand for included")


def _key(event: yaml.Event, place: str) -> str:
    if not isinstance(event, yaml.ScalarEvent):
        raise _at(event, f"{place or 'the file'}: a key must be a word, not a mapping, a list or an alias")
    if not 0 < len(event.value) <= LONGEST_KEY:
        raise _at(event, f"{place or 'the file'}: a key has 1 to {LONGEST_KEY} characters, not {len(event.value)}")
    _refuse_tag(event, "str")
    return _text(event, place)


def _scalar(event: yaml.Event, place: str) -> JsonValue:
    assert isinstance(event, yaml.ScalarEvent)
    kinds = [kind for kind, (pattern, _) in SCALARS.items() if pattern.fullmatch(event.value)]
    if event.tag in (None, "!"):
        kind = kinds[0] if kinds and event.implicit[0] else "str"       # else it is in quotes, or a block
    else:
        kind = _refuse_tag(event, *SCALARS, "str")
        if kind not in (*kinds, "str") and (kind, kinds) != ("float", ["int"]):
            raise _at(event, f"{place}: {brief(event.value)} is no !!{kind}; leave the tag out")
    if kind not in SCALARS:
        return _text(event, place)
    try:
        return SCALARS[kind][1](event.value)
    except ValueError as error:
        raise _at(event, f"{place}: {error}") from None


def _refuse_tag(event: yaml.ScalarEvent | yaml.CollectionStartEvent, *known: str) -> str:
    tag = event.tag
    if tag in (None, "!"):
        return known[-1]
    if tag.startswith(CORE) and tag.removeprefix(CORE) in known:
        return str(tag.removeprefix(CORE))
    shown = brief(tag.replace(CORE, "!!"))
    raise _at(event, f"the tag {shown} builds nothing here; write the value itself, without a tag")


def _text(event: yaml.ScalarEvent, place: str) -> str:
    """Halves of a character, as JSON escapes those beyond U+FFFF, are put together."""
    text = str(event.value).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    for odd in (LONE_SURROGATE.search(text), CONTROL.search(text)):
        if odd:
            raise _at(event, f"{place or 'a key'}: holds the character {_code(ord(odd[0]))}, no text; delete it")
    try:
        return without_secrets(text)
    except ValueError as error:
        raise _at(event, f"{place}: {error}") from None


def _whole(text: str) -> JsonValue:
    if len(text.lstrip("+-")) > DIGITS:
        raise ValueError(f"a whole number of {len(text.lstrip('+-'))} digits is too large; at most {DIGITS} are read")
    return int(text)


def _real(text: str) -> JsonValue:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{brief(text)} is too large for a number; at most 1.7e308 is read")
    return number


SCALARS: dict[str, tuple[re.Pattern[str], Callable[[str], JsonValue]]] = {
    "null": (re.compile(r"~|null|Null|NULL|"), lambda text: None),
    "bool": (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text[0] in "tT"),
    "int": (re.compile(r"[-+]?(0|[1-9][0-9]*)"), _whole),
    "float": (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), _real),
}
"""The core schema of YAML 1.2, in the order in which a plain scalar is tried."""


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _code(character: int) -> str:
    return f"U+{character:04X}"


def _line(event: yaml.Event) -> int:
    assert event.start_mark is not None
    return event.start_mark.line + 1


def _at(event: yaml.Event, message: str) -> NotSettings:
    return _fault(message, _line(event))


def _fault(message: str, line: int) -> NotSettings:
    return NotSettings(f"{message} (line {line})")
