"""Whether the weights that runs start from fit their models: asked before anything is spent."""

from collections.abc import Iterable
from pathlib import Path

from cogito_ray.losses.total import TotalLoss
from cogito_ray.run import RunSpec
from cogito_ray.text.corpus import Corpus
from cogito_ray.training.start_from import Start


def refuse_torn(runs: Iterable[RunSpec]) -> None:
    """ValueError unless every checkpoint that runs start from is there, and whole."""
    for spec in {run.start_from for run in runs if run.start_from is not None}:
        Start.read(spec)


def refuse_misfits(runs: Iterable[RunSpec], storage: Path) -> None:
    """ValueError with all that does not fit of what these runs start from. Their text must have been prepared."""
    unlike = {(run.start_from, run.data.digest(), run.model.digest()): run for run in runs}
    faults = [f"start_from: {fault}" for run in unlike.values() for fault in _faults(run, storage)]
    if faults:
        raise ValueError("\n".join(dict.fromkeys(faults)))


def _faults(run: RunSpec, storage: Path) -> list[str]:
    if run.start_from is None:
        return []
    vocabulary = Corpus.open(run.data, storage).vocabulary
    total = TotalLoss(run.model.build(vocabulary, run.data.length), run.loss)
    return Start.read(run.start_from).faults(total)
