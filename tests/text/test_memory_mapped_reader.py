"""Reading by memory map: batches are the plan's rows, however many are planned or gathered at a time."""

import numpy as np
import pytest

from cogito_ray.text.memory_mapped_reader import MappedReader
from cogito_ray.text.prepared_corpus import Corpus


@pytest.mark.parametrize(("planned", "gathered"), [(1, 1), (20, 100), (2**14, 2**18)])
def test_batches_do_not_depend_on_how_much_is_read_ahead(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, planned: int, gathered: int
) -> None:
    monkeypatch.setattr("cogito_ray.text.memory_mapped_reader.PLANNED", planned)
    monkeypatch.setattr("cogito_ray.text.memory_mapped_reader.GATHERED", gathered)
    reader = MappedReader(corpus, corpus.plan(seed=3))
    batches = list(reader.batches(range(2, 250), batch=12, rank=1, world=3))
    every = reader.read(0, 250 * 12).reshape(250, 3, 4, 16)  # steps, ranks, rows of a rank, tokens
    np.testing.assert_array_equal(batches, every[2:, 1])


def test_batches_are_int64_and_own_their_memory(corpus: Corpus) -> None:
    first, second = MappedReader(corpus, corpus.plan(seed=3)).batches(range(2), batch=4)
    assert first.dtype == np.int64
    assert not np.shares_memory(first, second)  # training may change one in place


def test_no_steps_are_no_batches(corpus: Corpus) -> None:
    assert list(MappedReader(corpus, corpus.plan(seed=3)).batches(range(5, 5), batch=4)) == []
