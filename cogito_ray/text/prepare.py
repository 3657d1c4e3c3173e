"""What is prepared, in which order, and what is reused; who runs the tasks is the caller's business (see runtime)."""

import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from cogito_ray.files import atomic_write
from cogito_ray.spec import digest
from cogito_ray.text.build import EXAMPLES, Recipe, build_part, sample
from cogito_ray.text.corpus import Corpus, shard_folder, tokenizer_folder, write_index
from cogito_ray.text.document import Part
from cogito_ray.text.raw import write_cut
from cogito_ray.text.shards import (
    COUNTS,
    MANIFEST,
    PARTS,
    SIDES,
    Counted,
    Counts,
    Manifest,
    Verified,
    file_sha256,
    write_json,
)
from cogito_ray.text.spec import DataSpec
from cogito_ray.text.tokenizer import BpeSpec, TextTokenizer

FORMAT = 1
"""Raised when the same documents would give other rows."""
LIBRARIES = ("numpy", "pyarrow", "tokenizers")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Progress:
    stage: str
    done: int
    total: int
    tokens: int = 0
    """Tokens this stage has written so far."""


Listener = Callable[[Progress], None]


class Runner(Protocol):
    """Runs calls in any order; yields each one's number and result."""

    def __call__(self, work: Sequence[Callable[[], Result]]) -> Iterable[tuple[int, Result]]: ...


def serially(work: Sequence[Callable[[], Result]]) -> Iterator[tuple[int, Result]]:
    """The runner for small data: no other process."""
    return ((number, call()) for number, call in enumerate(work))


def prepare_with(run: Runner, data: DataSpec, storage: Path, progress: Listener = lambda _: None) -> Corpus:
    """Builds what is missing or damaged and opens the corpus. ValueError, all faults at once, before work starts."""
    if faults := data.faults():
        raise ValueError("\n".join(faults))
    job = _Job(run, data, storage.absolute(), progress)
    tokenizer = job.tokenizer()
    sources = {name: job.source(name, tokenizer) for name in data.sources}
    write_index(data, job.storage, tokenizer=tokenizer, sources=sources)
    return Corpus.open(data, job.storage)


@dataclass(frozen=True)
class _Job:
    run: Runner
    data: DataSpec
    storage: Path
    progress: Listener

    @cached_property
    def fingerprints(self) -> dict[str, list[object]]:
        return {name: [source.kind, *source.fingerprint()] for name, source in self.data.sources.items()}

    @cached_property
    def scratch(self) -> Path:
        """Where the documents of every source can be read; asked for only when something must be."""
        scratch = self.storage / "documents"
        sources = self.data.sources
        missing = {name: source for name, source in sources.items() if not source.is_gathered(scratch)}
        work = [partial(source.gather, scratch) for source in missing.values()]
        for done, _ in enumerate(self.run(work), start=1):
            self.progress(Progress("gathering " + ", ".join(missing), done, len(missing)))
        return scratch

    def tokenizer(self) -> str:
        """Stores the tokenizer if it is not yet there, and returns its name."""
        spec = self.data.tokenizer
        if not isinstance(spec, BpeSpec):
            loaded = spec.load()
            loaded.save(tokenizer_folder(self.storage, name := loaded.digest()))
            return name
        name = digest([FORMAT, spec.model_dump(mode="json"), self.data.held_out, sorted(self.fingerprints.items())])
        folder = tokenizer_folder(self.storage, name)
        if not TextTokenizer.is_saved(folder):
            self.progress(Progress("training the tokenizer", 0, 1))
            parts = [source.parts(self.scratch) for source in self.data.sources.values()]
            list(self.run([partial(_train, spec, parts, self.data.held_out, folder)]))
            self.progress(Progress("training the tokenizer", 1, 1))
        return name

    def source(self, name: str, tokenizer: str) -> str:
        """Builds the shards of one source unless they stand, and returns their folder's name."""
        data = self.data
        identity = {
            "format": FORMAT,
            "source": self.fingerprints[name],
            "tokenizer": tokenizer,
            "length": data.length,
            "packing": data.packing,
            "held_out": data.held_out,
            **data.keeping.identity,
        }
        folder = shard_folder(self.storage, digest(identity))
        recipe = Recipe(
            folder,
            tokenizer_folder(self.storage, tokenizer),
            data.length,
            data.held_out,
            data.packing,
            keeps_rows=data.keeping.rows,
        )
        manifest = self._standing(name, folder) or self._build(name, recipe, identity)
        _refuse_bad(name, manifest, data.bad_documents)
        _refuse_empty(name, manifest, data.held_out)
        return folder.name

    def _standing(self, name: str, folder: Path) -> Manifest | None:
        """The manifest, if every file is what it says."""
        if not (folder / MANIFEST).exists():
            return None
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        if damaged := damaged_files(folder, manifest):
            self.progress(Progress(f"{name}: rebuilding what is damaged: {', '.join(damaged)}", 0, len(damaged)))
            return None
        Verified(folder).save(manifest.every_shard)
        self.progress(Progress(f"{name}: {manifest.rows('train')} rows stand from before", 1, 1))
        return manifest

    def _build(self, name: str, recipe: Recipe, identity: dict[str, object]) -> Manifest:
        parts = self.data.sources[name].parts(self.scratch, self.data.keeping.largest_part)
        if not recipe.keeps_rows:
            write_cut(recipe, parts)
        work = [partial(build_part, part, number, recipe) for number, part in enumerate(parts)]
        built: dict[int, tuple[Counted, Counts]] = {}
        tokens = 0
        for number, (record, counts) in self.run(work):
            built[number] = record, counts
            tokens += sum(record.tokens.values())
            self.progress(Progress(f"{name}: tokenising", len(built), len(work), tokens))
        if not built:
            raise ValueError(f"data.sources.{name}: holds no documents")
        return _finish(recipe, identity, [built[number] for number in sorted(built)])


def damaged_files(folder: Path, manifest: Manifest) -> list[str]:
    """Files of a prepared source that are missing, torn or altered."""
    verified = Verified(folder)
    damaged = [shard.file for shard in manifest.every_shard if not verified.holds(shard)]
    if manifest.part_rows and not (folder / PARTS).exists():
        damaged.append(PARTS)
    counts = folder / COUNTS
    return damaged if counts.exists() and file_sha256(counts) == manifest.counts_sha256 else [*damaged, COUNTS]


def _train(spec: BpeSpec, sources: Sequence[Sequence[Part]], held_out: float, folder: Path) -> None:
    """Trains on an equal share of every source's train documents."""
    share = spec.sample // len(sources)
    texts = chain.from_iterable(sample(parts, characters=share, held_out=held_out) for parts in sources)
    spec.train(texts).save(folder)


def _finish(recipe: Recipe, identity: dict[str, object], built: Sequence[tuple[Counted, Counts]]) -> Manifest:
    """Writes the counts, then the manifest, then the note that all shards were seen whole."""
    records = [record for record, _ in built]
    counts_file = recipe.folder / COUNTS
    with atomic_write(counts_file) as stream:
        np.save(stream, np.sum([counts for _, counts in built], axis=0))  # (2, V)
    manifest = Manifest(
        documents={side: sum(record.documents[side] for record in records) for side in SIDES},
        tokens={side: sum(record.tokens[side] for record in records) for side in SIDES},
        shards={side: tuple(shard for record in records for shard in record.shards[side]) for side in SIDES},
        bad_documents=sum(record.bad_documents for record in records),
        bad_files=sum(record.bad_files for record in records),
        files=sum(record.files for record in records),
        examples=tuple(bad for record in records for bad in record.examples)[:EXAMPLES],
        part_rows=tuple(rows for record in records for rows in record.part_rows),
        identity=identity,
        length=recipe.length,
        dtype=TextTokenizer.load(recipe.tokenizer).dtype.str,
        versions={"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        counts_sha256=file_sha256(counts_file),
    )
    write_json(recipe.folder / MANIFEST, manifest.model_dump(mode="json"))
    Verified(recipe.folder).save(manifest.every_shard)
    return manifest


def _refuse_bad(name: str, manifest: Manifest, tolerated: float) -> None:
    if manifest.bad_share > tolerated:
        named = "; ".join(f"{bad.place}: {bad.reason}" for bad in manifest.examples[:5])
        raise ValueError(
            f"data.sources.{name}: {manifest.bad_documents} bad documents in {manifest.files} files are "
            f"{manifest.bad_share:.1%}, more than data.bad_documents {tolerated:.1%} allows ({named}); "
            "mend them or allow more"
        )


def _refuse_empty(name: str, manifest: Manifest, held_out: float) -> None:
    documents = sum(manifest.documents.values())
    if not manifest.rows("train") or not manifest.rows("held_out"):
        raise ValueError(
            f"data.held_out: {held_out} puts {manifest.documents['held_out']} of the {documents} documents of source "
            f"{name} aside, but both sides need some; change it or add documents"
        )
