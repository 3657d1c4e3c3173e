"""The base of every validated setting: frozen, closed to unknown keys, named by a digest of its content."""

import ast
import difflib
import hashlib
import inspect
import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema, to_jsonable_python

SECRET = r"pass|pwd|secret|token|cred|sig|key|auth(?!or)|\bsas\b"
IN_URL = re.compile(
    rf"://[^/?#\s:@]*:(?!\d+[/?#])([^\s@]+)@|https?://([^/\s@]+)@|[?&#;][^=&;\s]*(?:{SECRET})[^=&;\s]*=([^&;\s]+)",
    re.IGNORECASE,
)
"""A password, or what is as good as one, in a URL. Keys of AWS may hold a slash."""
TrackerName = Literal["wandb", "mlflow", "tensorboard"]
"""Where a sweep or run can be followed besides."""
ISSUED = re.compile(r"\b(?:hf_[A-Za-z0-9]{30,}|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{30,}|AKIA[0-9A-Z]{16})\b")
"""A token that tells by its beginning who issued it."""
FROM_ENVIRONMENT = re.compile(r"\$\{\w+\}")


def _exact(schema: Any, *, outermost: bool = False) -> Any:
    """The schema, down to the next Spec, with nothing but numbers for a number, and true or false for a bool."""
    if isinstance(schema, list | tuple):
        return type(schema)(_exact(part) for part in schema)
    if not isinstance(schema, dict) or (schema.get("type") == "model" and not outermost):
        return schema
    kept = {key: part if key in ("metadata", "config") else _exact(part, outermost=outermost and key == "schema")
            for key, part in schema.items()}  # fmt: skip
    if kept.get("type") in ("bool", "float"):
        return kept | {"strict": True}
    return core_schema.no_info_before_validator_function(_number, kept) if kept.get("type") == "int" else kept


def _number(given: object) -> object:
    if isinstance(given, bool | str):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return given


class Spec(BaseModel):
    """A setting a user may write in YAML. Unknown keys are errors; instances never change.

    Values are taken as they are written: true is no 1, and "8" no 8; 8.0 and 1e3 are whole numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        return schema if cls.model_config.get("ser_json_inf_nan") == "strings" else _exact(schema, outermost=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, said in _docstrings(cls).items():
            if (field := properties.get(cls.model_fields[name].alias or name)) is not None:
                field.setdefault("description", said)
        return schema

    def digest(self) -> str:
        """Twelve hex digits that name this content: equal settings, equal digest, on any machine.

        A setting at its default does not count, so that one that a later version adds, at a default that changes
        nothing, renames no run. Where a default gets another value, ledgers tell the difference: they hold every value.
        """
        return digest(self.settled())

    def settled(self) -> dict[str, Any]:
        """Every kind, and every setting that is not at its default."""
        kept: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name == "kind" or field.is_required() or value != field.default:
                kept[name] = _settled(value)
        return kept


def _docstrings(spec: type[Spec]) -> dict[str, str]:
    """Of its fields. Read from the source when a schema is asked for: pydantic's own `use_attribute_docstrings` does it
    for every class when it is made, which took most of the time of importing this package."""
    parts = [part for part in reversed(spec.__mro__) if issubclass(part, Spec)]
    return {name: said for part in parts for name, said in _own_docstrings(part).items() if name in spec.model_fields}


@cache
def _own_docstrings(spec: type[Spec]) -> dict[str, str]:
    try:
        [source] = ast.parse(textwrap.dedent(inspect.getsource(spec))).body
    except (OSError, TypeError):    # it stands in no file
        return {}
    found: dict[str, str] = {}
    for field, said in pairwise(source.body if isinstance(source, ast.ClassDef) else ()):
        match field, said:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                found[name] = inspect.cleandoc(text)
    return found


def _settled(value: object) -> object:
    match value:
        case Spec():
            return value.settled()
        case dict():
            return {str(key): _settled(part) for key, part in value.items()}
        case list() | tuple():
            return [_settled(part) for part in value]
    return to_jsonable_python(value)


def digest(content: object) -> str:
    """Twelve hex digits of the SHA-256 of `content` as canonical JSON."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


OTHER_WORDS = {
    "epochs": ("steps", "epochs x train rows / batch, of which `cogito-ray prepare` tells the rows"),
    "deletion_rate": ("rate", "of objective tsdae"),
    "linear": ("wsd", "with decay: 1.0"),
    "recursive": ("tied", "with a depth"),
    "t_regs_mst": ("mst", "T-REGS"),
}
"""Of others -> ours, and what is to be known besides."""


def nearest(name: str, known: Sequence[str], most: int = 3) -> list[str]:
    """Those that `name` may have meant, best first: in other words, misspelt, without its underscores, or by their
    initials."""
    word, told = OTHER_WORDS.get(name, ("", ""))
    if word in known:
        return [f"{word} ({told})"]
    folded = {_folded(one): one for one in known}
    close = difflib.get_close_matches(_folded(name), folded, n=most, cutoff=0.7)
    initials = [one for one in known if len(name) > 1 and "".join(re.findall(r"(?:^|[_/-])(.)", one)) == name.lower()]
    return list(dict.fromkeys([*(folded[one] for one in close), *initials]))[:most]


def brief(value: object) -> str:
    """The value as it is shown in a message: on one line, and not all of it where it is long."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    said = repr(value)
    return said if len(said) <= 60 else f"{said[:50]}... ({len(said)} characters)"


def did_you_mean(meant: Sequence[str], known: Sequence[str]) -> str:
    """A way out: what was meant, else all that is known."""
    return f"did you mean {' or '.join(meant)}?" if meant else f"write one of {', '.join(known)}"


def _folded(name: str) -> str:
    return re.sub(r"[_\-. ]", "", name).lower()


def without_secrets(text: str) -> str:
    """`text`; ValueError if it holds a token, or a URL with a password, for settings stand in ledgers and reports."""
    found = [match[match.lastindex or 0] for match in IN_URL.finditer(text)] if "://" in text else []
    found += ISSUED.findall(text)
    if not all(map(FROM_ENVIRONMENT.fullmatch, found)):
        raise ValueError(
            "holds a password or key, which would stand in the ledger and the report; leave it out and set it in the "
            "environment (AWS_ACCESS_KEY_ID, ...), or write ${NAME} in search.storage"
        )
    return text


@dataclass(frozen=True)
class Worded:
    """Text of a pattern, whose rule is told in words."""

    pattern: str
    rule: str

    def check(self, text: str) -> str:
        """The text, if it fits. ValueError with the rule where it does not."""
        if not re.fullmatch(self.pattern, text):
            raise ValueError(f"{brief(text)} does not fit: {self.rule}")
        return text

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(schema) | {"pattern": f"^{self.pattern}$"}


def _plain(url: str) -> str:
    if re.search(r"\$\{\w+\}", without_secrets(url)):
        raise ValueError("takes nothing from the environment; write it out, and leave keys to the environment")
    return url


PLAIN = AfterValidator(_plain)
Url = Annotated[str, PLAIN]
"""A path or URL, with no secret in it."""
