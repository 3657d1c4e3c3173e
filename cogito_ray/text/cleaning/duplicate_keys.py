"""Duplicates by keys: two documents are alike if they share one, and only the first with a key stays.

A document's keys are a hash of all its words (exact duplicates), and one of each band of its MinHashes (near ones). One
key of all documents is sorted at a time, so that memory grows by 24 bytes a document, whatever the number of keys, and
the result depends on the order of documents alone.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from cogito_ray.atomic_files import atomic_write
from cogito_ray.text.cleaning.clean_spec import NearDuplicatesSpec
from cogito_ray.text.cleaning.word_hashes import Hashes, ngram_hashes, word_hashes

SCHEME = "affine32"
"""Of datasketch's permutations, which names their arithmetic: later versions keep it."""
AT_ONCE = 2**14
"""Runs of words permuted at a time, for documents of any length."""


def exact_key(text: str, words: Sequence[str]) -> Hashes:
    """(1,) of a document and its words: equal where the words are; of a text without words, of its characters."""
    return word_hashes([" ".join(words) or text])


def near_keys(hashes: Hashes, spec: NearDuplicatesSpec, whole: Hashes) -> Hashes:
    """(bands,) of a document's words (W,). Fewer words than a run has are one run, `whole`."""
    runs = ngram_hashes(hashes, spec.ngram) if len(hashes) >= spec.ngram else whole
    from datasketch import MinHash  # which imports scipy

    minima = MinHash(spec.bands * spec.rows, hashfunc=int, scheme=SCHEME, permutations=_permutations(spec))
    short = np.unique(runs) >> np.uint64(32)
    for start in range(0, len(short), AT_ONCE):
        minima.update_batch(short[start : start + AT_ONCE])
    return ngram_hashes(minima.hashvalues.astype(np.uint64), spec.rows)[:: spec.rows]       # (bands,)


@lru_cache(maxsize=2)
def _permutations(spec: NearDuplicatesSpec) -> np.ndarray:
    from datasketch import MinHash

    permutations: np.ndarray = MinHash(spec.bands * spec.rows, scheme=SCHEME).permutations
    return permutations


def mark_repeated(files: Sequence[Path], row: int, into: Path) -> None:
    """Writes (D,) for all documents in `files`, in order: whether one before has the same key in this row.

    A file is an array (rows, documents), of which one row is read.
    """
    keys = np.concatenate([np.load(file, mmap_mode="r")[row] for file in files])
    repeated = np.ones(len(keys), bool)
    repeated[np.unique(keys, return_index=True)[1]] = False     # the index is that of the first
    with atomic_write(into) as stream:
        np.save(stream, repeated)
