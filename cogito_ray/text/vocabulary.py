"""The few facts about a tokenizer that corruption, models and losses need. Plain data: imports nothing."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Vocabulary:
    size: int
    """Rows of the embedding table: every token id is smaller."""
    pad_id: int
    mask_id: int
    separator_id: int
    """Stands between two documents that share a row."""
    special_ids: tuple[int, ...]
    """Ids that carry no text (padding, mask, separator, ...): never corrupted, never targets."""
