"""Small corpora of made-up text, written to a folder."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cogito_ray.text.data_spec import DataSpec
from cogito_ray.text.preparation_plan import prepare_with, serially

STEMS = ("con", "to", "mo", "ra", "del", "in")
WORDS = [stem + ending for stem in STEMS for ending in ("cept", "ken", "ment", "dius", "ta", "form")]


def texts(count: int, seed: int) -> list[str]:
    """Distinct documents of 20 to 60 words."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(20, 60))) + f" number {seed}-{n}" for n in range(count)]


def two_sources(folder: Path) -> dict[str, dict[str, object]]:
    """Writes two Parquet files of 150 documents (weight 3) and one JSON Lines file of 100 (weight 1)."""
    for number in range(2):
        file = folder / "first" / f"{number}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"text": texts(150, seed=number)}), file, row_group_size=40)
    (folder / "second").mkdir()
    lines = (f'{{"text": "{text}"}}\n' for text in texts(100, seed=9))
    (folder / "second" / "lines.jsonl").write_text("".join(lines))
    return {
        "first": {"kind": "files", "path": str(folder / "first"), "weight": 3},
        "second": {"kind": "files", "path": str(folder / "second")},
    }


def data_spec(sources: dict[str, dict[str, object]], **changed: object) -> DataSpec:
    """Rows of 16 tokens over these sources, with whatever else a test changes."""
    tokenizer = {"kind": "bpe", "vocabulary": 320, "sample": 20_000}
    return DataSpec.model_validate(
        {"sources": sources, "tokenizer": tokenizer, "length": 16, "held_out": 0.1} | changed
    )


def tiny_run(folder: Path) -> dict[str, object]:
    """A RunSpec tree that trains within a second on `two_sources`, written below `folder`."""
    data = data_spec(two_sources(folder / "text"))
    return {
        "data": data.model_dump(mode="json"),
        "model": {"width": 16, "heads": 2, "concepts": 4, "encoder": {"depth": 1}, "decoder": {"kind": "position"}},
        "objective": {"kind": "tsdae"},
        "training": {"steps": 6, "batch": 8, "report_every": 2, "checkpoint_every": 2},
        "evaluation": {"rows": 16},
    }


def prepared_run(folder: Path, storage: Path | None = None) -> dict[str, object]:
    """The same, its text prepared in `storage` (None: `folder`) by this process: under Ray that takes seconds."""
    tree = tiny_run(folder)
    prepare_with(serially, DataSpec.model_validate(tree["data"]), storage or folder)
    return tree


def unread_run(**training: object) -> dict[str, object]:
    """A RunSpec tree for tests of what comes before training: its text is never read."""
    return {
        "data": {"sources": {"docs": {"kind": "python-docs", "part": "library"}}, "length": 32},
        "model": {"width": 64, "heads": 4, "decoder": {"kind": "position"}},
        "objective": {"kind": "tsdae"},
        "training": training,
    }
