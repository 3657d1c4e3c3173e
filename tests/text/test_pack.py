"""Rows hold the documents' tokens, in order or as they fit best, and nothing else."""

import numpy as np
import pytest

from cogito_ray.text.shards.row_packing import PACKERS, BestFit, Concatenate, OneDocument
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


def test_best_fit_puts_the_longest_first_into_the_fullest_row_with_room() -> None:
    packer = BestFit(8, VOCABULARY, U2)
    rows = np.concatenate([packer.add(documents(2, 5, 4, 1, 3)), packer.close()])
    full = [[10, 11, 12, 13, 14, 2, 10, 11], [10, 11, 12, 13, 2, 10, 11, 12]]
    assert rows.tolist() == [*full, [10, 0, 0, 0, 0, 0, 0, 0]]


def test_best_fit_cuts_only_documents_longer_than_a_row_and_packs_their_rest() -> None:
    packer = BestFit(4, VOCABULARY, U2)
    rows = np.concatenate([packer.add(documents(9, 4, 2)), packer.close()])
    assert rows.tolist() == [[10, 11, 12, 13], [14, 15, 16, 17], [10, 11, 12, 13], [10, 11, 2, 18]]
    assert packer.cut_documents == 1


def test_best_fit_keeps_every_document_whole_in_about_as_few_rows_as_hold_the_tokens() -> None:
    lengths = np.random.default_rng(0).integers(1, 13, 500)
    every = [np.full(length, 10 + number, U2) for number, length in enumerate(lengths)]
    packer = BestFit(32, VOCABULARY, U2)
    rows = np.concatenate([packer.add(every), packer.close()])
    assert len(rows) <= (lengths + 1).sum() / 33 + 2       # with its separator, a document takes a place more of N + 1
    for number, length in enumerate(lengths):
        assert sorted((rows == 10 + number).sum(axis=1))[-2:] == [0, length]


def test_best_fit_packs_a_bounded_number_of_tokens_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cogito_ray.text.shards.row_packing.PACKED_AT_ONCE", 6)
    packer = BestFit(8, VOCABULARY, U2)
    assert packer.add(documents(3, 2)).shape == (0, 8)
    assert packer.add(documents(1)).tolist() == [[10, 11, 12, 2, 10, 11, 2, 10]]
    assert packer.close().shape == (0, 8)


def test_a_document_is_cut_where_its_tokens_stand_in_more_than_one_row() -> None:
    packer = Concatenate(4, VOCABULARY, U2)
    packer.add(documents(3, 5))         # xxx| xxxx x|
    assert packer.cut_documents == 1
    packer.add(documents(2, 4, 9))      # xx xxxx| xxxxxxxxx
    assert packer.cut_documents == 3
    alone = OneDocument(4, VOCABULARY, U2)
    alone.add(documents(4, 5, 9))
    assert alone.cut_documents == 2


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
