"""The few facts about a tokenizer that corruption, models and losses need. Plain data: imports numpy alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Collocations:
    """Runs of tokens that belong together, as a trie: level i holds the runs of i + 2 tokens and their beginnings.

    A run's key is (its beginning's place in the level before, or its first token) * vocabulary size + its last token.
    """

    keys: tuple[NDArray[np.int64], ...]
    """Per level, ascending and not empty."""
    whole: tuple[NDArray[np.bool_], ...]
    """Per level and key, whether it is a collocation itself, not only the beginning of one."""


@dataclass(frozen=True)
class Vocabulary:
    """How many tokens there are, and which of them have a role."""

    size: int
    """Rows of the embedding table: every token id is smaller."""
    pad_id: int
    mask_id: int
    separator_id: int
    """Stands between two documents that share a row."""
    special_ids: tuple[int, ...]
    """Ids that carry no text (padding, mask, separator, ...): never corrupted, never targets."""
    collocations: Collocations | None = None
    """Of the corpus, where its text was counted for them; only the objective that masks collocations asks."""
