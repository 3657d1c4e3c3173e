"""Whether the weights that runs start from fit their models: asked before anything is spent."""

from collections.abc import Iterable

from cogito_ray.losses.total_loss import TotalLoss
from cogito_ray.nn.model import ModelSpec
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.experiment_folder import Corpora
from cogito_ray.runtime.preflight_checks import MissingInputs
from cogito_ray.text.data_spec import corpus_key
from cogito_ray.text.prepared_corpus import Corpus
from cogito_ray.training.checkpoints.initial_weights import InitialWeights, StartFromSpec


def refuse_damaged_weights(runs: Iterable[RunSpec]) -> None:
    """Raises MissingInputs unless every checkpoint that runs start from is there, and whole."""
    faults = []
    for spec in dict.fromkeys(run.start_from for run in runs if run.start_from is not None):
        try:
            InitialWeights.read(spec)
        except ValueError as fault:
            faults.append(f"start_from.folder: {fault}")
    if faults:
        raise MissingInputs(faults)


def refuse_misfits(runs: Iterable[RunSpec], corpora: Corpora) -> None:
    """ValueError with all that does not fit of what these runs start from. `corpora`: what they read."""
    unlike = {(run.start_from, run.data.digest(), run.model.digest()): run for run in runs}
    faults = [f"start_from: {fault}" for run in unlike.values() for fault in _faults(run, corpora)]
    if faults:
        raise ValueError("\n".join(dict.fromkeys(faults)))


def _faults(run: RunSpec, corpora: Corpora) -> list[str]:
    if run.start_from is None:
        return []
    corpus = corpora[corpus_key(run.data)]
    total = TotalLoss(run.model.build(corpus.vocabulary, run.data.length), run.loss)
    misfits = InitialWeights.read(run.start_from).faults(total)
    return misfits + _tokenizer_faults(run.start_from, corpus) + _multiplier_faults(run.start_from, run.model)


def _multiplier_faults(spec: StartFromSpec, model: ModelSpec) -> list[str]:
    if spec.multipliers == model.multipliers:
        return []
    return [
        f"{spec.folder} was trained under another model.parametrisation, so its weights mean something else here; "
        "write the one, and the base sizes, of the run that made it"
    ]


def _tokenizer_faults(spec: StartFromSpec, corpus: Corpus) -> list[str]:
    """Weights of words mean nothing to another tokenizer. Another implementation's checkpoints do not name theirs."""
    theirs, ours = spec.tokenizer, corpus.digests.tokenizer
    if theirs in ("", ours):
        return []
    return [f"{spec.folder} was trained with tokenizer {theirs}, this run has {ours}"]
