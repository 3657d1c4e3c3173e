"""In which language a document is, as py3langid tells (https://aclanthology.org/P12-3005): a naive Bayes classifier of
runs of bytes, which comes with its model."""

from functools import lru_cache
from importlib.metadata import version
from typing import Any

TOLD_BY = 2000
"""Characters by which a document is told."""


def language_of(text: str) -> str:
    """ISO 639 code of the likeliest; zxx of what is no language, such as numbers."""
    language: str = _identifier().classify(text[:TOLD_BY])[0]
    return language


def known_languages() -> list[str]:
    """All codes that `language_of` may give."""
    return sorted(_identifier().labels)


def identifier_version() -> str:
    """Another one may tell documents otherwise."""
    return version("py3langid")


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # half a second, for the model

    return LanguageIdentifier.from_model_file(MODEL_FILE)
