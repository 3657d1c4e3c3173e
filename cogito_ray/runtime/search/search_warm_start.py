"""What earlier sweeps teach a sampler: their trials, read from their ledgers once, as trials of this sweep's space."""

from collections.abc import Mapping
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError

from cogito_ray.records.ledger import NAME, EarlierTrial, Status
from cogito_ray.records.sweep_record import Record, Trial, read
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.space.optuna_distributions import contains, distribution
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.text.data_digests import DataDigests
from cogito_ray.text.data_spec import corpus_key


def earlier_trials(sweep: SweepSpec, data: Mapping[str, DataDigests]) -> list[EarlierTrial]:
    """Of all folders of `search.warm_start`. Raises ValueError where one has other goals or nothing that fits.

    `data`: what trials of this sweep read, by `corpus_key`.
    """
    found = []
    for folder in sweep.search.warm_start:
        record = read(Path(folder) / NAME)
        if record.goals != sweep.goals:
            raise ValueError(
                f"search.warm_start: {folder} was ranked by {_goals(record)}, which are not the goals here; "
                "leave it out, or give this sweep those goals"
            )
        fitting = [trial for trial in record.trials.values() if _fits(sweep, trial, data)]
        if not fitting:
            raise ValueError(
                f"search.warm_start: no finished trial of {folder} lies in this space and reads the same text under "
                "the same evaluation; leave it out, or widen the space"
            )
        found += [_learnt(sweep, trial, folder) for trial in fitting]
    return found


def _fits(sweep: SweepSpec, trial: Trial, data: Mapping[str, DataDigests]) -> bool:
    """Did it end with a finite value, as a point of this space from its first step on, measured on the same rows?"""
    if trial.status not in (Status.COMPLETED, Status.STOPPED):
        return False
    if set(trial.sample) != set(sweep.search_space.varying(trial.sample)):
        return False
    if not all(contains(distribution(sweep.space[path]), value) for path, value in trial.sample.items()):
        return False
    try:
        theirs = RunSpec.model_validate(trial.spec)
    except ValidationError:  # settings have changed since
        return False
    ours = sweep.trial(trial.sample)
    same = (theirs.data, theirs.evaluation, theirs.reference) == (ours.data, ours.evaluation, ours.reference)
    same = same and trial.data is not None and trial.data == data.get(corpus_key(ours.data))
    return same and theirs.branch is None and sweep.aim.merit(trial.known).finite


def _learnt(sweep: SweepSpec, trial: Trial, folder: str) -> EarlierTrial:
    return EarlierTrial(
        folder=folder,
        sample=trial.sample,
        completed=trial.status is Status.COMPLETED,
        metrics=trial.known,
        curve=tuple(trial.curve(sweep.goals[0].metric)),
    )


def frozen(sweep: SweepSpec, trial: EarlierTrial) -> FrozenTrial:
    """For a study."""
    drawn = {path: domain for path, domain in sweep.search_space.distributions().items() if path in trial.sample}
    return optuna.create_trial(
        state=TrialState.COMPLETE if trial.completed else TrialState.PRUNED,
        values=[trial.metrics[goal.metric] for goal in sweep.goals] if trial.completed else None,
        params={path: trial.sample[path] for path in drawn},
        distributions=drawn,
        user_attrs={"from": trial.folder},
        intermediate_values=dict(trial.curve) if len(sweep.goals) == 1 else None,
        constraints=sweep.aim.excesses(trial.metrics) if trial.completed else None,
    )


def _goals(record: Record) -> str:
    return ", ".join(f"{goal.metric} ({goal.mode})" for goal in record.goals)
