"""What a sweep has spent, told from its ledger alone."""

from cogito_ray.records.sweep_record import Record
from cogito_ray.sweeps.budget_spec import HOUR_S, Reserved, Spent


def spent(record: Record) -> Spent:
    """By every trial, as long as it ran, and by the drivers, over all starts."""
    runs = record.runs.values()
    held = [(trial.seconds / HOUR_S, Reserved.by(trial.spec)) for trial in runs]
    return Spent(
        gpu_hours=sum(hours * reserved.gpus for hours, reserved in held),
        cpu_hours=sum(hours * reserved.cpus for hours, reserved in held),
        wall_s=record.wall,
    )
