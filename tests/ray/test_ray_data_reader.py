"""Ray Data executes a row plan exactly as the memory map does."""


import numpy as np
import pytest
from corpora import data_spec, two_sources

from cogito_ray.runtime.data.ray_data_reader import StreamReader
from cogito_ray.text.memory_mapped_reader import MappedReader
from cogito_ray.text.preparation_plan import prepare_with, serially

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("ray_cluster")]


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> MappedReader:
    folder = tmp_path_factory.mktemp("data")
    corpus = prepare_with(serially, data_spec(two_sources(folder)), folder / "storage")
    return MappedReader(corpus, corpus.plan(seed=1))


@pytest.mark.parametrize("world", [1, 2, 4])
def test_each_worker_reads_what_the_memory_map_reads(mapped: MappedReader, world: int) -> None:
    steps = range(40)
    for rank in range(world):
        streamed = list(StreamReader(mapped).batches(steps, batch=8, rank=rank, world=world))
        expected = list(mapped.batches(steps, batch=8, rank=rank, world=world))
        assert {batch.shape for batch in streamed} == {(8 // world, 16)}
        np.testing.assert_array_equal(streamed, expected)


def test_many_blocks_come_in_order(mapped: MappedReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cogito_ray.runtime.data.ray_data_reader.SMALLEST_BLOCK", 2048)
    stream = StreamReader(mapped).dataset(range(100), batch=16)
    blocks = [block["ids"] for block in stream.iter_batches(batch_size=None)]
    assert len(blocks) == 25
    rows = np.concatenate(blocks)
    np.testing.assert_array_equal(rows, mapped.read(0, 1600))


def test_resuming_in_mid_epoch_gives_the_tail(mapped: MappedReader) -> None:
    whole = list(StreamReader(mapped).batches(range(60), batch=8))
    tail = list(StreamReader(mapped).batches(range(37, 60), batch=8))
    np.testing.assert_array_equal(tail, whole[37:])
