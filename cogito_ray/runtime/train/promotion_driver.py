"""Trains a sweep's winners at full size, each as a run of its own below the sweep's folder, and certifies the proxy."""

import time
from pathlib import Path

from cogito_ray.records.ledger import PROMOTED, Ledger, PromotionCertified
from cogito_ray.records.ledger import Promoted as Told
from cogito_ray.records.results.gate_results import verdicts_on
from cogito_ray.records.results.promotion_results import Promotion, certificates, promotions
from cogito_ray.records.results.scaling_forecasts import scored
from cogito_ray.records.sweep_record import Record
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.experiment_folder import ExperimentFolder
from cogito_ray.runtime.train.pretraining_driver import pretrain
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.text.data_digests import ChangedData, DataDigests
from cogito_ray.text.data_spec import corpus_key
from cogito_ray.text.preparation_plan import Listener


def planned(sweep: SweepSpec, storage: Path) -> list[Promotion]:
    """The full runs that `promote` asks for. ValueError where it asks for none, or the sweep has not ended."""
    return _planned(sweep, ExperimentFolder.of_sweep(sweep, storage))


def _planned(sweep: SweepSpec, experiment: ExperimentFolder) -> list[Promotion]:
    record = experiment.recorded()
    if sweep.promote is None:
        raise ValueError("the file does not say what to promote: add promote: {top: 2, with: {training.steps: 50000}}")
    if record is None or record.closing is None:
        raise ValueError(f"{experiment.folder}: the sweep has not ended; run it first: cogito-ray sweep FILE")
    return promotions(sweep, record)


def promote(sweep: SweepSpec, storage: Path, listener: Listener = lambda _: None) -> Record:
    """Train what is left of the full runs, one after the other, and certify. The sweep's record, with what became.

    ValueError where a gate does not hold. KeyboardInterrupt where one is interrupted: those after it are not begun.
    """
    experiment = ExperimentFolder.of_sweep(sweep, storage)
    _planned(sweep, experiment)    # refused before its folder is touched
    with experiment.driving():
        _pass_gates(sweep, experiment)
        for due in _planned(sweep, experiment):
            known = experiment.now.promoted.get(due.run.digest())
            if known is None or not known.complete:
                own = _train(due, experiment, listener)
                if own.is_interrupted:
                    raise KeyboardInterrupt(f"{own.trials[due.run.digest()].step} steps of {due.run.digest()}")
        for goal, found in certificates(experiment.now).items():
            with Ledger(experiment.ledger) as ledger:
                ledger.append(PromotionCertified.of(goal, found))
    return experiment.now


def _pass_gates(sweep: SweepSpec, experiment: ExperimentFolder) -> None:
    """Judge those of the promotion, for the record. ValueError with the figures of those that do not hold."""
    assert sweep.promote is not None
    verdicts, held = verdicts_on(experiment.now, sweep.promote.gates), []
    with Ledger(experiment.ledger) as ledger:
        for verdict in verdicts:
            ledger.append(verdict)
            seen = [f"trial {experiment.now.trials[trial].number}: {name} {value:.4g}"
                    for trial, figures in verdict.seen.items() for name, value in figures.items()]  # fmt: skip
            held += [] if verdict.holds else [f"  {verdict.condition} ({', '.join(seen)})"]
    if held:
        way_out = "a person may promote all the same: promote.gates=[]"
        raise ValueError("\n".join(["the promotion is held, for these gates do not hold:", *held, way_out]))


def _read(due: Promotion, experiment: ExperimentFolder) -> DataDigests | None:
    """What the full run must read, because its trial did; None where the two are to read other text."""
    trial = experiment.now.trials[due.trial]
    if corpus_key(RunSpec.model_validate(trial.spec).data) != corpus_key(due.run.data):
        return None
    if trial.data is None:
        raise ChangedData(
            f"{experiment.ledger} does not say what trial {trial.number} read; run the sweep under another name"
        )
    return trial.data


def _train(due: Promotion, experiment: ExperimentFolder, listener: Listener) -> Record:
    """In a folder of its own, from its newest checkpoint if it was interrupted; then the sweep's ledger hears of it.
    Its own record."""
    digest = due.run.digest()
    storage, name = experiment.folder.parent, f"{experiment.folder.name}/{PROMOTED}/{digest}"
    own = pretrain(due.run, name, storage, listener, data=_read(due, experiment))
    trial = own.trials[digest]
    told = Told(
        at=time.time(),
        trial=due.trial,
        run=digest,
        folder=str(storage / name),
        changes=due.changes,
        complete=own.is_complete and trial.end is not None and trial.end.complete,
        cause=trial.cause,
        metrics=trial.known,
    )
    with Ledger(experiment.ledger) as ledger:
        ledger.append(told)
        for score in scored(experiment.now, told, trial):
            ledger.append(score)
    return own
