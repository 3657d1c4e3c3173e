"""A trained model, taken up from its checkpoint: which run it is, the ledger above its folder says."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import torch
from pydantic import JsonValue, ValidationError
from safetensors.torch import load_model

from cogito_ray.evaluation.export_folder import CHECKPOINT, export_folder
from cogito_ray.evaluation.sentence_encoder import SentenceEncoder
from cogito_ray.losses.total_loss import TotalLoss
from cogito_ray.nn.model import ConceptModel
from cogito_ray.object_storage.driver_lease import refresh
from cogito_ray.object_storage.storage_mirror import fetch, mirror_of
from cogito_ray.records.ledger import NAME, TrialStarted, events
from cogito_ray.run_spec import RunSpec
from cogito_ray.text.data_digests import DataDigests, NotPrepared
from cogito_ray.text.preparation_plan import changes_since
from cogito_ray.text.prepared_corpus import Corpus
from cogito_ray.text.tokenizer import FILE as TOKENIZER
from cogito_ray.text.tokenizer import TextTokenizer, tokenizer_folder
from cogito_ray.text.vocabulary_info import Vocabulary
from cogito_ray.training.checkpoints.manifest import MANIFEST, OPTIMIZER, STATE, WEIGHTS, BadCheckpoint, verify
from cogito_ray.training.optimizer import load_average

GIVE = "give a run's folder or a checkpoint, step-..."


@dataclass(frozen=True)
class Checkpoint:
    """One that was found in a storage folder, not yet loaded."""

    folder: Path
    run: RunSpec
    step: int
    data: DataDigests
    """What it was trained on."""
    ledger: Path
    """Tells of its run."""

    @classmethod
    def at(cls, folder: Path) -> Self:
        """FileNotFoundError where there is none, or no ledger stands above it; BadCheckpoint where it is torn."""
        if not (folder / STATE).is_file() and not (folder / MANIFEST).is_file():
            raise FileNotFoundError(f"{folder}: no checkpoint is there; {GIVE}")
        verify(folder, [STATE])
        state = json.loads((folder / STATE).read_text())
        ledger = _ledger_above(folder)
        data = DataDigests(**state["data"]) if state.get("data") else None
        return cls(folder, _run(ledger, state["run"]), int(state["step"]), named_data(data, folder), ledger)

    @property
    def trial(self) -> str:
        """Digest of its run."""
        return self.run.digest()

    @property
    def tokenizer(self) -> str:
        """Digest of the one it was trained with."""
        return self.data.tokenizer

    @property
    def decodes(self) -> bool:
        """Has it a decoder that heads could read?"""
        return self.run.model.decoder is not None

    @property
    def iterates(self) -> bool:
        """Can its encoder be applied more or less often?"""
        return self.run.model.encoder.tied

    @property
    def cpus(self) -> float:
        """That answering takes."""
        return self.run.cpus_per_worker

    @property
    def gpus(self) -> float:
        """That answering takes, where there is one."""
        return self.run.gpus_per_worker

    def digest(self) -> str:
        """Twelve hex digits that name its weights. BadCheckpoint unless they are whole."""
        return self._weights[:12]

    @cached_property
    def _weights(self) -> str:
        return verify(self.folder, [WEIGHTS])[WEIGHTS]


@dataclass(frozen=True)
class TrainedModel:
    """A model with its trained weights, and what belongs to it: its run, its tokenizer, its data."""

    run: RunSpec
    step: int
    model: ConceptModel
    data: DataDigests
    """What it was trained on."""
    storage: Path
    tokenizer: TextTokenizer
    """The one it was trained with."""
    ledger: Path
    """Tells of its run."""

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The checkpoint in `folder`, or the newest below it.

        FileNotFoundError where there is none, where no ledger stands above it, or where its tokenizer was deleted;
        BadCheckpoint where it is torn or altered.
        """
        found = Checkpoint.at(newest(folder.absolute()))
        verify(found.folder, [WEIGHTS])
        run, storage = found.run, _storage_of(found)
        with _telling_changes(run, storage, found.data):
            tokenizer = TextTokenizer.open(storage, found.data.tokenizer)
        total = TotalLoss(run.model.build(tokenizer.vocabulary, run.data.length), run.loss)
        load_model(total, str(found.folder / WEIGHTS), strict=True)
        if run.training.optimizer.evaluates_average:
            _take_average(found.folder, run, total)
        return cls(run, found.step, total.model.eval(), found.data, storage, tokenizer, found.ledger)

    @cached_property
    def corpus(self) -> Corpus:
        """The rows it was trained on. NotPrepared where they were deleted, ChangedData where they are others now."""
        with _telling_changes(self.run, self.storage, self.data):
            return Corpus.open(self.run.data, self.storage, self.data)

    @property
    def vocabulary(self) -> Vocabulary:
        """Of its tokenizer."""
        return self.tokenizer.vocabulary

    @property
    def sentence_encoder(self) -> SentenceEncoder:
        """The model as labelled tasks ask it: texts in, vectors out."""
        return SentenceEncoder(self.model, self.tokenizer, self.run.data.length)

    def export(self, folder: Path, *, name: str = "", license: str | None = None) -> None:
        """Write what AutoModel and SentenceTransformer load; the latter's vectors are our mean concepts.

        name: on the Hub, for the card; license: of the Hub's list. ValueError unless the folder is new, empty, or an
        earlier export's.
        """
        from cogito_ray.nn.interop import transformers_model  # imports transformers: slow
        from cogito_ray.records.pages.model_card import model_card

        words, length = self.vocabulary, self.run.data.length
        record: dict[str, JsonValue] = {"run": self.run.digest(), "step": self.step, **self._read()}
        file = tokenizer_folder(self.storage, self.data.tokenizer) / TOKENIZER
        with export_folder(folder, record) as draft:
            transformers_model.export(
                self.model,
                transformers_model.ConceptConfig.of(self.run.model, words, length),
                transformers_model.tokenizer_of(file, words, length),
                draft,
            )
            said = model_card(self.run, self.step, self.ledger, record, name=name or folder.name, license=license)
            for path, text in said.items():
                (draft / path).parent.mkdir(exist_ok=True)
                (draft / path).write_text(text)

    def _read(self) -> dict[str, JsonValue]:
        """Names of what it was trained on, for a record."""
        rows: dict[str, JsonValue] = {f"rows of {name}": digest for name, digest in self.data.sources.items()}
        return {"data": self.data.digest(), "tokenizer": self.data.tokenizer, **rows}


def _take_average(folder: Path, run: RunSpec, total: TotalLoss) -> None:
    """The average of the weights in the places of the weights."""
    verify(folder, [OPTIMIZER])
    optimizer = run.training.optimizer.build(total)
    optimizer.load_state_dict(torch.load(folder / OPTIMIZER, weights_only=True, map_location="cpu"))
    load_average(optimizer)


def named_data(data: DataDigests | None, folder: Path) -> DataDigests:
    """What the checkpoint in `folder` says that it was trained on. ValueError if it does not say."""
    if data is None:
        raise ValueError(f"{folder}: does not say on what text it was trained (version 0.1 wrote it); train it again")
    return data


@contextmanager
def _telling_changes(run: RunSpec, storage: Path, data: DataDigests) -> Iterator[None]:
    """Whoever hears that something is not there is also told what has become of the text since."""
    try:
        yield
    except NotPrepared as gone:
        changes = changes_since(run.data, storage, data)
        raise NotPrepared("\n".join([str(gone), *(f"  since then: {change}" for change in changes)])) from gone


def newest(folder: Path) -> Path:
    """`folder` if it is a checkpoint, else the one below it of most steps. ValueError if it holds those of two runs."""
    found = newest_of_each(folder)
    if len(found) > 1:
        runs = ", ".join(checkpoint.parents[1].name for checkpoint in found)
        raise ValueError(f"{folder} holds checkpoints of {len(found)} trials; give the folder of one: {runs}")
    return found[0]


def newest_of_each(folder: Path) -> list[Path]:
    """`folder` if it is a checkpoint, else of every run below it the checkpoint of most steps, in the runs' order."""
    _bring(folder)
    if (folder / STATE).is_file() or CHECKPOINT.fullmatch(folder.name):
        return [folder]
    found = sorted(each for each in folder.rglob("step-*") if CHECKPOINT.fullmatch(each.name) and each.is_dir())
    if not found:
        raise FileNotFoundError(f"{folder}: no checkpoint is there; {GIVE}")
    return list({checkpoint.parents[1]: checkpoint for checkpoint in found}.values())


def _bring(folder: Path) -> None:
    """What `newest_of_each` finds, from an object store, with the ledgers above."""
    mirror = mirror_of(folder)
    if mirror is None:
        return
    for above in (folder, *folder.parents):
        if above.is_relative_to(mirror.root):
            refresh(above / NAME)
    objects = sorted(mirror.store.sizes(mirror.name_of(folder)))
    found = [mirror.root / name for name in objects if name.endswith(f"/{MANIFEST}")]
    manifests = [file for file in found if CHECKPOINT.fullmatch(file.parent.name)]
    for file in {file.parents[2]: file for file in manifests}.values():
        refresh(file.parents[2] / NAME)
        fetch(file.parent, last=MANIFEST)


def whole(folders: Iterable[Path]) -> tuple[list[Checkpoint], list[str]]:
    """The checkpoints in these folders, and what is wrong with those that are torn or altered."""
    found, faults = [], []
    for folder in folders:
        try:
            checkpoint = Checkpoint.at(folder)
            checkpoint.digest()
        except BadCheckpoint as fault:
            faults.append(str(fault))
        else:
            found.append(checkpoint)
    return found, faults


def _ledger_above(checkpoint: Path) -> Path:
    ledgers = [parent / NAME for parent in checkpoint.parents if (parent / NAME).is_file()]
    if not ledgers:
        raise FileNotFoundError(f"{checkpoint}: no {NAME} stands above it, so nothing says which run it is of")
    return ledgers[0]


def _storage_of(found: Checkpoint) -> Path:
    """The nearest folder above the run's in which its text was prepared: full runs lie deeper than others."""
    above = found.ledger.parents[1:]
    prepared = (folder for folder in above if TextTokenizer.is_saved(tokenizer_folder(folder, found.data.tokenizer)))
    return next(prepared, above[0])


def _run(ledger: Path, digest: str) -> RunSpec:
    started = [event for event in events(ledger) if isinstance(event, TrialStarted)]
    specs = {event.trial: event.spec for event in started}
    if digest not in specs:
        raise ValueError(f"{ledger} tells of no run {digest}; it knows {', '.join(specs) or 'none'}")
    try:
        return RunSpec.model_validate(specs[digest])
    except ValidationError as fault:
        places = ", ".join(dict.fromkeys(".".join(map(str, each["loc"])) for each in fault.errors()))
        raise ValueError(
            f"{ledger}: run {digest} has settings that this version does not read ({places}); "
            "use the one that trained it"
        ) from fault
