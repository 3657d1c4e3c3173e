"""A fingerprint of the rows that a run has read: equal for equal rows at equal positions, whoever read them, and when.

The sum modulo 2^128 of a hash of each row and its position (AdHash, doi:10.1007/3-540-69053-0_13): workers add up their
shares, and a resumed run goes on from its checkpoint's sum. It tells chance from sameness; it is no defence against
somebody who looks for rows of an equal sum.
"""

from hashlib import blake2b

from torch import Tensor

NONE_READ = "0" * 32
SIZE = 16
"""Bytes of a sum."""


def hash_rows(ids: Tensor, first: int) -> int:
    """Of ids (B, N), rows at the positions from `first` on; sums of such numbers name sets of rows.

    The position is the salt of the hash, so that the same rows in another order have another sum.
    """
    rows = ids.numpy().astype("<i4")
    hashes = (
        blake2b(row, digest_size=SIZE, salt=position.to_bytes(SIZE, "little")).digest()
        for position, row in enumerate(rows, start=first)
    )
    return sum(int.from_bytes(one, "little") for one in hashes)


def combined(name: str, *hashes: int) -> str:
    """32 hex digits that name the rows behind `name` and those behind `hashes` together."""
    return f"{(int(name, 16) + sum(hashes)) % (1 << 8 * SIZE):0{2 * SIZE}x}"
