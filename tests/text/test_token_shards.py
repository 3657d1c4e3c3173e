"""A shard is valid Parquet and at the same time a memory map."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cogito_ray.text.prepared_corpus import Corpus
from cogito_ray.text.shards.token_shards import (
    DamagedShards,
    TokenShards,
    VerifiedFiles,
    file_sha256,
    map_shard,
    write_shard,
)


@pytest.mark.parametrize("dtype", ["<u2", "<u4"])
@pytest.mark.parametrize("rows", [1, 40_000])  # more rows than Parquet writers put on a page by default
def test_memory_map_equals_parquet(tmp_path: Path, dtype: str, rows: int) -> None:
    ids = np.random.default_rng(0).integers(0, 60_000, (rows, 24)).astype(dtype)
    shard = write_shard(tmp_path / "a.parquet", ids)
    read = np.frombuffer(b"".join(pq.read_table(tmp_path / "a.parquet")["ids"].to_pylist()), dtype).reshape(rows, 24)
    mapped = map_shard(tmp_path / "a.parquet", 24, np.dtype(dtype))
    np.testing.assert_array_equal(read, ids)
    np.testing.assert_array_equal(mapped, ids)
    assert (shard.rows, shard.sha256) == (rows, file_sha256(tmp_path / "a.parquet"))


def test_parquet_of_another_layout_is_refused(tmp_path: Path) -> None:
    values = pa.array([bytes(8)] * 50_000, pa.binary(8))
    pq.write_table(pa.table({"ids": values}), tmp_path / "a.parquet", compression="none", use_dictionary=False)
    with pytest.raises(ValueError, match="do not lie in one page"):
        map_shard(tmp_path / "a.parquet", 4, np.dtype("<u2"))


def test_opening_names_torn_and_missing_shards(corpus: Corpus) -> None:
    shards = corpus.sources[0].shards
    torn, missing = (shards.folder / shard.file for shard in shards.manifest.every_shard[:2])
    torn.write_bytes(torn.read_bytes()[:-1])
    missing.unlink()
    with pytest.raises(DamagedShards, match=f"2 shards .*{torn.name}, {missing.name}.*cogito-ray prepare"):
        TokenShards.open(shards.folder)


def test_a_shard_changed_in_place_is_noticed(corpus: Corpus) -> None:
    shards = corpus.sources[0].shards
    shard = shards.manifest.every_shard[0]
    file = shards.folder / shard.file
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    assert not VerifiedFiles(shards.folder).holds(shard)


def test_rows_are_found_across_shards(corpus: Corpus) -> None:
    shards = corpus.sources[0].shards
    files = shards.manifest.shards["train"]
    dtype = np.dtype(shards.manifest.dtype)
    every = np.concatenate([map_shard(shards.folder / shard.file, 16, dtype) for shard in files])
    backwards = np.arange(len(every))[::-1]
    np.testing.assert_array_equal(shards.train(backwards), every[backwards])
