"""A trained model, taken up from its checkpoint: which run it is, the ledger above its folder says."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from safetensors.torch import load_model

from cogito_ray.evaluation.reader import TextReader
from cogito_ray.losses.total import TotalLoss
from cogito_ray.nn.model import ConceptModel
from cogito_ray.records.ledger import NAME, TrialStarted, events
from cogito_ray.run import RunSpec
from cogito_ray.text.corpus import Corpus, index_of
from cogito_ray.text.tokenizer import FILE as TOKENIZER

WEIGHTS, STATE = "model.safetensors", "state.json"


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
        """FileNotFoundError where no ledger stands above it."""
        state = json.loads((folder / STATE).read_text())
        ledger = _ledger_above(folder)
        return cls(folder, _run(ledger, state["run"]), int(state["step"]), ledger)

    def digest(self) -> str:
        """Twelve hex digits that name its weights."""
        with (self.folder / WEIGHTS).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:12]


@dataclass(frozen=True)
class Trained:
    run: RunSpec
    step: int
    model: ConceptModel
    corpus: Corpus

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The checkpoint in `folder`, or the newest below it.

        FileNotFoundError where there is none, where no ledger stands above it, or where its corpus was deleted.
        """
        found = Checkpoint.at(newest(folder.absolute()))
        run, corpus = found.run, Corpus.open(found.run.data, _storage_of(found))
        total = TotalLoss(run.model.build(corpus.vocabulary, run.data.length), run.loss)
        load_model(total, str(found.folder / WEIGHTS), strict=True)
        return cls(run, found.step, total.model.eval(), corpus)

    @property
    def reader(self) -> TextReader:
        return TextReader(self.model, self.corpus.tokenizer, self.run.data.length)

    def export(self, folder: Path) -> None:
        """Write what AutoModel and SentenceTransformer load; the latter's vectors are our mean concepts."""
        from cogito_ray.nn import hub  # imports transformers: slow

        words, length = self.corpus.vocabulary, self.run.data.length
        hub.export(
            self.model,
            hub.ConceptConfig.of(self.run.model, words, length),
            hub.tokenizer_of(self.corpus.tokenizer_folder / TOKENIZER, words, length),
            folder,
            record={"run": self.run.digest(), "step": self.step},
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
    if (folder / WEIGHTS).is_file():
        return [folder]
    found = sorted(file.parent for file in folder.rglob(WEIGHTS) if not file.parent.name.startswith("."))
    if not found:
        raise FileNotFoundError(f"{folder}: no checkpoint is there; give a run's folder or a checkpoint, step-...")
    return list({checkpoint.parents[1]: checkpoint for checkpoint in found}.values())


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
