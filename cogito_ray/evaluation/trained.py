"""A trained model, taken up from its checkpoint: which run it is, the ledger above its folder says."""

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
from cogito_ray.text.corpus import Corpus

WEIGHTS, STATE = "model.safetensors", "state.json"


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
        checkpoint = newest(folder.absolute())
        state = json.loads((checkpoint / STATE).read_text())
        ledger = _ledger_above(checkpoint)
        run = _run(ledger, state["run"])
        corpus = Corpus.open(run.data, ledger.parents[1])
        total = TotalLoss(run.model.build(corpus.vocabulary, run.data.length), run.loss)
        load_model(total, str(checkpoint / WEIGHTS), strict=True)
        return cls(run, int(state["step"]), total.model.eval(), corpus)

    @property
    def reader(self) -> TextReader:
        return TextReader(self.model, self.corpus.tokenizer, self.run.data.length)


def newest(folder: Path) -> Path:
    """`folder` if it is a checkpoint, else the one below it of most steps. ValueError if it holds those of two runs."""
    if (folder / WEIGHTS).is_file():
        return folder
    found = sorted(file.parent for file in folder.rglob(WEIGHTS) if not file.parent.name.startswith("."))
    if not found:
        raise FileNotFoundError(f"{folder}: no checkpoint is there; give a run's folder or a checkpoint, step-...")
    if len(runs := sorted({checkpoint.parents[1].name for checkpoint in found})) > 1:
        raise ValueError(f"{folder} holds checkpoints of {len(runs)} trials; give the folder of one: {', '.join(runs)}")
    return found[-1]


def _ledger_above(checkpoint: Path) -> Path:
    ledgers = [parent / NAME for parent in checkpoint.parents if (parent / NAME).is_file()]
    if not ledgers:
        raise FileNotFoundError(f"{checkpoint}: no {NAME} stands above it, so nothing says which run it is of")
    return ledgers[0]


def _run(ledger: Path, digest: str) -> RunSpec:
    started = [event for event in events(ledger) if isinstance(event, TrialStarted)]
    specs = {event.trial: event.spec for event in started}
    if digest not in specs:
        raise ValueError(f"{ledger} tells of no run {digest}; it knows {', '.join(specs) or 'none'}")
    return RunSpec.model_validate(specs[digest])
