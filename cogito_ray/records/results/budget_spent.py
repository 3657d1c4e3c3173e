"""What a sweep has spent, told from its ledger alone."""

from cogito_ray.records.sweep_record import Record, Trial
from cogito_ray.sweeps.budget_spec import HOUR_S, Reserved, Spent


def spent(record: Record, now: float | None = None) -> Spent:
    """By every trial, as long as it ran, and by the drivers, over all starts. `now`: seconds since 1970, where a driver
    and its trials are at work; None = as far as is recorded."""
    held = [(_seconds(record, trial, now) / HOUR_S, Reserved.by(trial.spec)) for trial in record.runs.values()]
    return Spent(
        gpu_hours=sum(hours * reserved.gpus for hours, reserved in held),
        cpu_hours=sum(hours * reserved.cpus for hours, reserved in held),
        wall_s=record.wall if now is None else record.wall + now - record.spans[-1][1],
    )


def _seconds(record: Record, trial: Trial, now: float | None) -> float:
    return trial.seconds if now is None or not record.is_running(trial) else trial.earlier + now - trial.began
