"""What a run has read, named by content: two runs of equal digests saw the same tokens in the same rows."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from cogito_ray.spec import digest


@dataclass(frozen=True)
class DataDigests:
    tokenizer: str
    """Of tokenizer.json and vocabulary.json."""
    sources: Mapping[str, str]
    """Of each source's rows, train and held-out ones, and of how often each token occurs."""

    def digest(self) -> str:
        """Twelve hex digits that name tokenizer and rows together. How sources are mixed is the run's own setting."""
        return digest(asdict(self))
