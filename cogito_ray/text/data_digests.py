"""What a run has read, named by content: two runs of equal digests saw the same tokens in the same rows."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cogito_ray.base_spec import digest


@dataclass(frozen=True)
class DataDigests:
    """Content hashes of the tokenizer and of each source's rows."""

    tokenizer: str
    """Of tokenizer.json and vocabulary.json."""
    sources: Mapping[str, str]
    """Of each source's rows, train and held-out ones, and of how often each token occurs."""

    def __hash__(self) -> int:
        return hash(self.digest())

    def digest(self) -> str:
        """Twelve hex digits that name tokenizer and rows together. How sources are mixed is the run's own setting."""
        return digest(asdict(self))


class NotPrepared(FileNotFoundError):
    """The data a run names was never prepared in this storage, or was deleted there."""


MADE_AGAIN = "`cogito-ray prepare` with the same file makes it again, if the text is as it was"


class ChangedData(ValueError):
    """The text is not what it was; each line names a place and what changed there."""


NAMED = 5
"""Files of which a message tells by name."""
STAMP = "changed"
"""The part of a file's fingerprint that may differ though its content does not."""


def differences(before: Mapping[str, Any], now: Mapping[str, Any], *, stamps: bool) -> list[str]:
    """In what two fingerprints of a source differ. `stamps`: also in when files were written to."""
    found = []
    for field in sorted(before.keys() | now.keys()):
        old, new = before.get(field), now.get(field)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            by_change = {
                "came": sorted(new.keys() - old.keys()),
                "went": sorted(old.keys() - new.keys()),
                "changed": [key for key in sorted(old.keys() & new.keys()) if _differ(old[key], new[key], stamps)],
            }
            found += [f"{field} that {what}: {_listed(keys)}" for what, keys in by_change.items() if keys]
        elif old != new:
            found.append(f"{field}: {old!r} -> {new!r}")
    return found


def _differ(old: object, new: object, stamps: bool) -> bool:
    if stamps or not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return old != new
    return {**old, STAMP: None} != {**new, STAMP: None}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
