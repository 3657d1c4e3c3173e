"""Rows hold the documents' tokens in order and nothing else."""

import numpy as np
import pytest

from cogito_ray.text.shards.row_packing import PACKERS, Concatenate, OneDocument
from cogito_ray.text.vocabulary_info import Vocabulary

VOCABULARY = Vocabulary(size=100, pad_id=0, mask_id=1, separator_id=2, special_ids=(0, 1, 2))
U2 = np.dtype("<u2")


def documents(*lengths: int) -> list[np.ndarray]:
    return [np.arange(10, 10 + length, dtype=U2) for length in lengths]


def test_concatenate_is_the_stream_with_separators_cut_every_n() -> None:
    packer = Concatenate(4, VOCABULARY, U2)
    rows = np.concatenate([packer.add(documents(3, 5)), packer.add(documents(1)), packer.close()])
    assert rows.tolist() == [[10, 11, 12, 2], [10, 11, 12, 13], [14, 2, 10, 2]]


def test_only_the_last_concatenated_row_is_padded() -> None:
    packer = Concatenate(4, VOCABULARY, U2)
    rows = np.concatenate([packer.add(documents(6)), packer.close()])
    assert rows.tolist() == [[10, 11, 12, 13], [14, 15, 2, 0]]


def test_a_row_of_one_document_never_mixes() -> None:
    packer = OneDocument(4, VOCABULARY, U2)
    rows = np.concatenate([packer.add(documents(5, 4, 1)), packer.close()])
    assert rows.tolist() == [[10, 11, 12, 13], [14, 0, 0, 0], [10, 11, 12, 13], [10, 0, 0, 0]]


@pytest.mark.parametrize("packing", PACKERS)
def test_rows_do_not_depend_on_how_documents_arrive(packing: str) -> None:
    every = documents(3, 9, 1, 1, 4, 7)
    at_once, one_by_one = (PACKERS[packing](4, VOCABULARY, U2) for _ in range(2))
    first = np.concatenate([at_once.add(every), at_once.close()])
    second = np.concatenate([*(one_by_one.add([document]) for document in every), one_by_one.close()])
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("packing", PACKERS)
def test_no_documents_give_no_rows(packing: str) -> None:
    packer = PACKERS[packing](4, VOCABULARY, U2)
    assert packer.add([]).shape == packer.close().shape == (0, 4)
