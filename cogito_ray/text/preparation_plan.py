"""What is prepared, in which order, and what is reused; who runs the tasks is the caller's business (see runtime)."""

import json
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import numpy as np

from cogito_ray.atomic_files import atomic_write, atomic_write_text, write_json
from cogito_ray.base_spec import digest
from cogito_ray.object_storage.storage_mirror import fetch, mirror_of
from cogito_ray.text.cleaning.clean_spec import identifier_version
from cogito_ray.text.cleaning.corpus_cleaning import FORMAT as CLEANING
from cogito_ray.text.cleaning.corpus_cleaning import CleanedSource, CorpusCleaning
from cogito_ray.text.cleaning.evaluation_overlap import evaluation_sets
from cogito_ray.text.data_digests import ChangedData, DataDigests, NotPrepared, differences
from cogito_ray.text.data_spec import DataSpec
from cogito_ray.text.prepared_corpus import Corpus, DataIndex, index_of, shard_folder
from cogito_ray.text.shards.parts_file import parts_lie_at, write_parts_file
from cogito_ray.text.shards.removed_documents import REMOVED, removed_places, write_removed
from cogito_ray.text.shards.shard_builder import BuildSettings, build, build_tasks, sample_documents
from cogito_ray.text.shards.token_shards import (
    COUNTS,
    MANIFEST,
    PARTS,
    Counts,
    DamagedShards,
    Manifest,
    ShardSummary,
    VerifiedFiles,
    file_sha256,
)
from cogito_ray.text.sources.documents import Part
from cogito_ray.text.tokenizer import FACTS, PretrainedTokenizerSpec, TextTokenizer, tokenizer_folder
from cogito_ray.text.trained_tokenizers import TrainedTokenizerSpec

FORMAT = 5
"""Raised when the same documents would give other rows, or shards are described otherwise."""
COUNTED_PARTS = 64
"""Parts, spread over a source, in which train tokens are counted where rows are not kept."""
LIBRARIES = ("numpy", "pyarrow", "tokenizers")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Progress:
    """How far a stage of preparation is: `done` of `total` tasks."""

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


def prepare_with(
    run: Runner,
    data: DataSpec,
    storage: Path,
    progress: Listener = lambda _: None,
    *,
    expected: DataDigests | None = None,
) -> Corpus:
    """Builds what is missing or damaged and opens the corpus.

    ValueError, all faults at once, before work starts. ChangedData if the text is not what gave `expected`: before work
    starts where files came, went or have another size, else when it was tokenised again.
    """
    if faults := data.faults():
        raise ValueError("\n".join(faults))
    job = _Preparation(run, data, storage.absolute(), progress)
    if expected is not None and (changes := job.changes(expected, stamps=False)):
        raise ChangedData("\n".join(changes))
    tokenizer = job.tokenizer(expected)
    manifests = {name: job.source(name, tokenizer) for name in data.sources}
    digests = DataDigests(tokenizer, {name: manifest.digest() for name, manifest in manifests.items()})
    if expected is not None and digests != expected:
        raise ChangedData("\n".join([*_other(expected, digests), *job.changes(expected, stamps=True)]))
    identities = {name: manifest.identity for name, manifest in manifests.items()}
    shards = {name: digest(identity) for name, identity in identities.items()}
    commit = job.tokenizer_commit(digests)
    DataIndex(digests=digests, shards=shards, identities=identities, tokenizer_commit=commit).write(job.storage)
    job.upload(digests, shards.values())
    return Corpus.of(data, job.storage, digests, shards)


def prepared(data: DataSpec, storage: Path) -> Corpus:
    """The corpus of the text as it is now; NotPrepared if it does not stand in this storage. Reads no documents."""
    return _Preparation(serially, data, storage.absolute(), lambda _: None).existing()


def changes_since(data: DataSpec, storage: Path, digests: DataDigests) -> list[str]:
    """What became other in the text that these digests were made from, as far as can be told without reading it."""
    if faults := data.faults():
        return faults
    return _Preparation(serially, data, storage.absolute(), lambda _: None).changes(digests, stamps=True)


@dataclass(frozen=True)
class _Preparation:
    run: Runner
    data: DataSpec
    storage: Path
    progress: Listener

    @cached_property
    def fingerprints(self) -> dict[str, dict[str, object]]:
        return {name: {"kind": source.kind, **source.fingerprint()} for name, source in self.data.sources.items()}

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

    def upload(self, digests: DataDigests, shards: Iterable[str]) -> None:
        """All that another machine needs, the index last; nothing where the storage is no object store."""
        if (mirror := mirror_of(self.storage)) is None or mirror.store.exists(
            mirror.name_of(index := index_of(digests, self.storage))
        ):
            return
        mirror.upload(tokenizer_folder(self.storage, digests.tokenizer), last=FACTS)
        for name in shards:
            mirror.upload(shard_folder(self.storage, name), last=MANIFEST)
        for file in (self._trained, index) if self._trained.exists() else (index,):
            mirror.upload(file)

    def changes(self, since: DataDigests, *, stamps: bool) -> list[str]:
        """In what the sources differ from those that these digests were made from, where that is still known."""
        index = DataIndex.read(since, self.storage)
        before = {name: identity["source"] for name, identity in index.identities.items()} if index else {}
        of_sources = [
            f"data.sources.{name}.{difference}"
            for name, was in before.items()
            for difference in differences(cast(dict[str, Any], was), self.fingerprints.get(name, {}), stamps=stamps)
        ]
        is_there = TextTokenizer.stands(self.storage, since.tokenizer)
        return of_sources if is_there else [*of_sources, *self._other_tokenizer(since)]

    def _other_tokenizer(self, since: DataDigests) -> list[str]:
        """How a pretrained one differs from that of these digests."""
        spec = self.data.tokenizer
        if not isinstance(spec, PretrainedTokenizerSpec) or (now := spec.load().digest()) == since.tokenizer:
            return []
        was = self.tokenizer_commit(since) or since.tokenizer
        return [f"data.tokenizer: {spec.name} {was} -> {spec.commit or now}"]

    def tokenizer_commit(self, digests: DataDigests) -> str | None:
        """Of the hub, at which the tokenizer of these digests was read; None where it was not, or that is not known."""
        index, spec = DataIndex.read(digests, self.storage), self.data.tokenizer
        if index and index.tokenizer_commit:
            return index.tokenizer_commit
        if isinstance(spec, PretrainedTokenizerSpec) and spec.load().digest() == digests.tokenizer:
            return spec.commit
        return None

    def existing(self) -> Corpus:
        """NotPrepared unless tokenizer and shards of the text as it is now are there."""
        tokenizer = self._existing_tokenizer()
        shards = {name: digest(self._identity(name, tokenizer or "")) for name in self.data.sources}
        files = {name: shard_folder(self.storage, folder) / MANIFEST for name, folder in shards.items()}
        for file in files.values():
            fetch(file.parent, last=MANIFEST)
        if tokenizer is None or not all(file.exists() for file in files.values()):
            raise NotPrepared(f"{self.storage}: the text of {', '.join(files)} is not prepared there as it is now")
        manifests = {name: Manifest.read(file.parent) for name, file in files.items()}
        digests = DataDigests(tokenizer, {name: manifest.digest() for name, manifest in manifests.items()})
        return Corpus.of(self.data, self.storage, digests, shards)

    def tokenizer(self, expected: DataDigests | None) -> str:
        """Stores the tokenizer if it is not yet there, and returns its digest. What is expected is neither trained nor
        asked for again where it is there."""
        if expected and TextTokenizer.stands(self.storage, expected.tokenizer):
            if changes := self._other_tokenizer(expected):
                self.progress(Progress(f"{changes[0]}: goes on with what was read", 1, 1))
            return expected.tokenizer
        if existing := self._existing_tokenizer():
            return existing
        spec = self.data.tokenizer
        if isinstance(spec, PretrainedTokenizerSpec):
            return spec.load().store(self.storage)
        self.progress(Progress("training the tokenizer", 0, 1))
        parts = [source.parts(self.scratch) for source in self.data.sources.values()]
        [(_, trained)] = self.run([partial(_train, spec, parts, self.data.held_out, self.storage)])
        write_json(self._trained, trained)
        self.progress(Progress("training the tokenizer", 1, 1))
        return trained

    def _existing_tokenizer(self) -> str | None:
        """The digest of the tokenizer, if it is there and whole."""
        spec = self.data.tokenizer
        if isinstance(spec, PretrainedTokenizerSpec):
            known = spec.load().digest()
        elif self._trained_before():
            known = str(json.loads(self._trained.read_text()))
        else:
            return None
        return known if TextTokenizer.stands(self.storage, known) else None

    def _trained_before(self) -> bool:
        fetch(self._trained)
        return self._trained.exists()

    @property
    def _trained(self) -> Path:
        """A file that says which tokenizer was trained on these sources."""
        spec = self.data.tokenizer.settled()
        name = digest([FORMAT, spec, self.data.held_out, sorted(self.fingerprints.items())])
        return self.storage / "tokenizers" / f"trained-{name}.json"

    def source(self, name: str, tokenizer: str) -> Manifest:
        """Builds the shards of one source unless they exist, and returns what is known of them."""
        data, identity = self.data, self._identity(name, tokenizer)
        settings = BuildSettings(
            shard_folder(self.storage, digest(identity)),
            tokenizer_folder(self.storage, tokenizer),
            data.length,
            data.held_out,
            data.packing,
            keeps_rows=data.keeping.rows,
            held_out_packing=data.held_out_packing,
            cleaned=data.clean is not None,
        )
        manifest = self._existing(name, settings.folder)
        if manifest is None:
            manifest = self._build(name, settings, identity)
        elif not settings.keeps_rows and not parts_lie_at(settings.folder, data.sources[name].places(self.scratch)):
            write_parts_file(settings, self._parts(name))    # its text, or this storage, was moved
        _refuse_bad(name, manifest, data.bad_documents)
        _refuse_empty(name, manifest, data.held_out)
        return manifest

    def _identity(self, name: str, tokenizer: str) -> dict[str, object]:
        """What the shards of a source are made from: its digest names their folder."""
        apart = self.data.held_out_packing
        return {
            "format": FORMAT,
            "source": self.fingerprints[name],
            "tokenizer": tokenizer,
            "length": self.data.length,
            "packing": self.data.packing,
            "held_out": self.data.held_out,
            **({} if apart in (None, self.data.packing) else {"held_out_packing": apart}),
            **self.data.keeping.identity,
            **({"name": name, **self._cleaning_identity} if self.data.clean else {}),   # one may repeat another
        }

    @cached_property
    def _cleaning_identity(self) -> dict[str, object]:
        """What decides, besides a source's own text, what is left out of it: the other sources, and evaluation sets."""
        spec = self.data.clean
        if spec is None:
            return {}
        sets = evaluation_sets(spec.decontaminate) if spec.decontaminate else []
        contents = [[each.name, each.content] for each in sets]
        sources = list(self.fingerprints.items())       # of duplicates, the first in this order stays
        told_by = [identifier_version()] if spec.languages else []
        return {"cleaned": digest([CLEANING, spec.settled(), contents, sources, self.data.keeping.identity, *told_by])}

    @cached_property
    def cleaned(self) -> dict[str, CleanedSource]:
        """What is left out of each source; found out unless that stands from before."""
        assert self.data.clean is not None
        sources = {name: self._parts(name) for name in self.data.sources}
        cleaning = CorpusCleaning(self.data.clean, self._cleaning_folder, sources)
        if (stands := cleaning.finished()) is not None:
            return stands
        for stage, work in cleaning.stages():
            for done, _ in enumerate(self.run(work), start=1):
                self.progress(Progress(stage, done, len(work)))
        return cleaning.finish()

    @property
    def _cleaning_folder(self) -> Path:
        return self.storage / "cleaning" / str(self._cleaning_identity["cleaned"])

    def _existing(self, name: str, folder: Path) -> Manifest | None:
        """The manifest, if every file is what it says."""
        fetch(folder, last=MANIFEST)
        if not (folder / MANIFEST).exists():
            return None
        try:
            manifest = Manifest.read(folder)
        except DamagedShards:
            self.progress(Progress(f"{name}: rebuilding, for {MANIFEST} is damaged", 0, 1))
            return None
        if damaged := damaged_files(folder, manifest):
            self.progress(Progress(f"{name}: rebuilding what is damaged: {', '.join(damaged)}", 0, len(damaged)))
            return None
        VerifiedFiles(folder).save(manifest.every_shard)
        self.progress(Progress(f"{name}: {manifest.rows('train')} rows stand from before", 1, 1))
        return manifest

    def _parts(self, name: str) -> list[Part]:
        return self.data.sources[name].parts(self.scratch, self.data.keeping.largest_part)

    def _build(self, name: str, settings: BuildSettings, identity: dict[str, object]) -> Manifest:
        parts = self._parts(name)
        if said := self.data.sources[name].left_out():
            self.progress(Progress(f"{name}: files left out: {said}", 0, len(parts)))
        if not parts:
            raise ValueError(f"data.sources.{name}: holds no documents")
        cleaned = self._leave_out(name, settings.folder) if settings.cleaned else None
        if not settings.keeps_rows:
            write_parts_file(settings, parts)
            settings = replace(settings, counted_every=max(1, len(parts) // COUNTED_PARTS))
        work = [partial(build, task, settings) for task in build_tasks(parts)]
        built: dict[int, ShardSummary] = {}
        counts: Counts = np.zeros((2, 1), np.int64)
        tokens = 0
        for number, (record, counted) in self.run(work):
            built[number], counts = record, counts + counted  # (2, V)
            tokens += sum(record.tokens.values())
            self.progress(Progress(f"{name}: tokenising", len(built), len(work), tokens))
        return _finish(settings, identity, [built[number] for number in sorted(built)], counts, cleaned)

    def _leave_out(self, name: str, folder: Path) -> CleanedSource:
        """Says in the folder of a source's shards which documents are left out."""
        cleaned = self.cleaned[name]
        write_removed(folder, removed_places(self._cleaning_folder / name))
        return cleaned


def damaged_files(folder: Path, manifest: Manifest) -> list[str]:
    """Files of a prepared source that are missing, torn or altered."""
    verified = VerifiedFiles(folder)
    damaged = [shard.file for shard in manifest.every_shard if not verified.holds(shard)]
    if manifest.part_rows and not (folder / PARTS).exists():
        damaged.append(PARTS)
    if "cleaned" in manifest.identity and not (folder / REMOVED).exists():
        damaged.append(REMOVED)
    counts = folder / COUNTS
    return damaged if counts.exists() and file_sha256(counts) == manifest.counts_sha256 else [*damaged, COUNTS]


def _other(expected: DataDigests, found: DataDigests) -> list[str]:
    changed = [name for name in expected.sources if found.sources.get(name) != expected.sources[name]]
    lines = [f"data.sources.{name}: rows {expected.sources[name]} -> {found.sources.get(name)}" for name in changed]
    if found.tokenizer != expected.tokenizer:
        lines.append(f"data.tokenizer: {expected.tokenizer} -> {found.tokenizer}")
    return lines


def _train(
    spec: TrainedTokenizerSpec, sources: Sequence[Sequence[Part]], held_out: float, storage: Path
) -> str:
    """Trains on an equal share of every source's train documents; the digest of the stored tokenizer."""
    share = spec.sample // len(sources)
    texts = chain.from_iterable(sample_documents(parts, characters=share, held_out=held_out) for parts in sources)
    return spec.train(texts).store(storage)


def _finish(
    settings: BuildSettings,
    identity: dict[str, object],
    records: Sequence[ShardSummary],
    counts: Counts,
    cleaned: CleanedSource | None,
) -> Manifest:
    """Writes the counts, then the manifest, then the note that all shards were seen whole."""
    counts_file = settings.folder / COUNTS
    with atomic_write(counts_file) as stream:
        np.save(stream, counts)
    manifest = Manifest(
        **dict(ShardSummary.joined(records).model_copy(update={"removed": cleaned.removed if cleaned else {}})),
        identity=identity,
        length=settings.length,
        dtype=TextTokenizer.load(settings.tokenizer).dtype.str,
        versions={"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        counts_sha256=file_sha256(counts_file),
        overlaps=cleaned.overlaps if cleaned else {},
        removed_examples=cleaned.examples if cleaned else (),
    )
    atomic_write_text(settings.folder / MANIFEST, manifest.model_dump_json(indent=1))
    VerifiedFiles(settings.folder).save(manifest.every_shard)
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
    if manifest.without_text and not documents:
        raise ValueError(
            f"data.sources.{name}.column: none of {manifest.without_text} records has text in this field; name another"
        )
    if not manifest.rows("train") or not manifest.rows("held_out"):
        raise ValueError(
            f"data.held_out: {held_out} puts {manifest.documents['held_out']} of the {documents} documents of source "
            f"{name} aside, but both sides need some; change it or add documents"
        )
