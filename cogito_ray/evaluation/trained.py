"""A trained model, taken up from its checkpoint: which run it is, the ledger above its folder says."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from pydantic import JsonValue
from safetensors.torch import load_model

from cogito_ray.evaluation.export_folder import CHECKPOINT, export_folder
from cogito_ray.evaluation.reader import TextReader
from cogito_ray.losses.total import TotalLoss
from cogito_ray.nn.model import ConceptModel
from cogito_ray.records.ledger import NAME, TrialStarted, events
from cogito_ray.run import RunSpec
from cogito_ray.text.corpus import Corpus, index_of
from cogito_ray.text.tokenizer import FILE as TOKENIZER
from cogito_ray.training.manifest import MANIFEST, STATE, WEIGHTS, BadCheckpoint, verify

GIVE = "give a run's folder or a checkpoint, step-..."


@dataclass(frozen=True)
class Checkpoint:
    """One that was found in a storage folder, not yet loaded."""

    folder: Path
    run: RunSpec
    step: int
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
        return cls(folder, _run(ledger, state["run"]), int(state["step"]), ledger)

    def digest(self) -> str:
        """Twelve hex digits that name its weights. BadCheckpoint unless they are whole."""
        return self._weights[:12]

    @cached_property
    def _weights(self) -> str:
        return verify(self.folder, [WEIGHTS])[WEIGHTS]


@dataclass(frozen=True)
class Trained:
    run: RunSpec
    step: int
    model: ConceptModel
    corpus: Corpus

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The checkpoint in `folder`, or the newest below it.

        FileNotFoundError where there is none, where no ledger stands above it, or where its corpus was deleted;
        BadCheckpoint where it is torn or altered.
        """
        found = Checkpoint.at(newest(folder.absolute()))
        verify(found.folder, [WEIGHTS])
        run, corpus = found.run, Corpus.open(found.run.data, _storage_of(found))
        total = TotalLoss(run.model.build(corpus.vocabulary, run.data.length), run.loss)
        load_model(total, str(found.folder / WEIGHTS), strict=True)
        return cls(run, found.step, total.model.eval(), corpus)

    @property
    def reader(self) -> TextReader:
        return TextReader(self.model, self.corpus.tokenizer, self.run.data.length)

    def export(self, folder: Path) -> None:
        """Write what AutoModel and SentenceTransformer load; the latter's vectors are our mean concepts.

        ValueError unless the folder is new, empty, or an earlier export's.
        """
        from cogito_ray.nn import hub  # imports transformers: slow

        words, length = self.corpus.vocabulary, self.run.data.length
        record: dict[str, JsonValue] = {"run": self.run.digest(), "step": self.step}
        with export_folder(folder, record) as draft:
            hub.export(
                self.model,
                hub.ConceptConfig.of(self.run.model, words, length),
                hub.tokenizer_of(self.corpus.tokenizer_folder / TOKENIZER, words, length),
                draft,
                record=record,
            )


def newest(folder: Path) -> Path:
    """`folder` if it is a checkpoint, else the one below it of most steps. ValueError if it holds those of two runs."""
    found = newest_of_each(folder)
    if len(found) > 1:
        runs = ", ".join(checkpoint.parents[1].name for checkpoint in found)
        raise ValueError(f"{folder} holds checkpoints of {len(found)} trials; give the folder of one: {runs}")
    return found[0]


def newest_of_each(folder: Path) -> list[Path]:
    """`folder` if it is a checkpoint, else of every run below it the checkpoint of most steps, in the runs' order."""
    if (folder / STATE).is_file() or CHECKPOINT.fullmatch(folder.name):
        return [folder]
    found = sorted(each for each in folder.rglob("step-*") if CHECKPOINT.fullmatch(each.name) and each.is_dir())
    if not found:
        raise FileNotFoundError(f"{folder}: no checkpoint is there; {GIVE}")
    return list({checkpoint.parents[1]: checkpoint for checkpoint in found}.values())


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
    return next((folder for folder in above if index_of(found.run.data, folder).exists()), above[0])


def _run(ledger: Path, digest: str) -> RunSpec:
    started = [event for event in events(ledger) if isinstance(event, TrialStarted)]
    specs = {event.trial: event.spec for event in started}
    if digest not in specs:
        raise ValueError(f"{ledger} tells of no run {digest}; it knows {', '.join(specs) or 'none'}")
    return RunSpec.model_validate(specs[digest])
