"""The base of every validated setting: frozen, closed to unknown keys, named by a digest of its content."""

import hashlib
import json
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, ValidationError


class Spec(BaseModel):
    """A setting a user may write in YAML. Unknown keys are errors; instances never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    def digest(self) -> str:
        """Twelve hex digits that name this content: equal settings, equal digest, on any machine."""
        return digest(self.model_dump(mode="json"))


def digest(content: object) -> str:
    """Twelve hex digits of the SHA-256 of `content` as canonical JSON."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def explain(error: ValidationError, root: str = "") -> list[str]:
    """One line per fault: its dotted place under `root`, what is wrong there, and the value that was given."""
    return list(_lines(error, root))


def _lines(error: ValidationError, root: str) -> Iterator[str]:
    for fault in error.errors(include_url=False):
        place = ".".join(str(part) for part in (root, *fault["loc"]) if part != "")
        message = fault["msg"].removeprefix("Value error, ")
        given = "" if fault["type"] in ("missing", "value_error") else f"; got {fault['input']!r}"
        yield f"{place}: {message}{given}" if place else message
