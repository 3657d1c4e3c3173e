"""Whether the weights that runs start from fit their models: asked before anything is spent."""

from collections.abc import Iterable
from pathlib import Path

from cogito_ray.evaluation.trained import Checkpoint
from cogito_ray.losses.total import TotalLoss
from cogito_ray.run import RunSpec
from cogito_ray.runtime.absent import Absent
from cogito_ray.text.corpus import Corpus
from cogito_ray.training.start_from import Start, StartFromSpec


def refuse_torn(runs: Iterable[RunSpec]) -> None:
    """Raises Absent unless every checkpoint that runs start from is there, and whole."""
    faults = []
    for spec in dict.fromkeys(run.start_from for run in runs if run.start_from is not None):
        try:
            Start.read(spec)
        except ValueError as fault:
            faults.append(f"start_from.folder: {fault}")
    if faults:
        raise Absent(faults)


def refuse_misfits(runs: Iterable[RunSpec], storage: Path) -> None:
    """ValueError with all that does not fit of what these runs start from. Their text must have been prepared."""
    unlike = {(run.start_from, run.data.digest(), run.model.digest()): run for run in runs}
    faults = [f"start_from: {fault}" for run in unlike.values() for fault in _faults(run, storage)]
    if faults:
        raise ValueError("\n".join(dict.fromkeys(faults)))


def _faults(run: RunSpec, storage: Path) -> list[str]:
    if run.start_from is None:
        return []
    corpus = Corpus.open(run.data, storage)
    total = TotalLoss(run.model.build(corpus.vocabulary, run.data.length), run.loss)
    return Start.read(run.start_from).faults(total) + _tokenizer_faults(run.start_from, corpus)


def _tokenizer_faults(spec: StartFromSpec, corpus: Corpus) -> list[str]:
    """Weights of words mean nothing to another tokenizer. What has no ledger above it cannot be asked for its own."""
    try:
        found = Checkpoint.at(Path(spec.folder))
        theirs = Corpus.open(found.run.data, found.ledger.parents[1]).tokenizer_folder.name
    except FileNotFoundError:
        return []
    ours = corpus.tokenizer_folder.name
    return [] if theirs == ours else [f"{spec.folder} was trained with tokenizer {theirs}, this run has {ours}"]
