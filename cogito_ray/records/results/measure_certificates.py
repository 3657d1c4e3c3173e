"""Which measures can stand in for a metric that needs labels, or is dearer: their agreement over a sweep's trials."""

from collections.abc import Sequence
from dataclasses import dataclass

from cogito_ray.analysis.thresholds import less_is_better
from cogito_ray.records.results.gate_results import stopping
from cogito_ray.records.sweep_record import Record
from cogito_ray.sweeps.statistics.rank_agreement import Certificate, certify

ASKED = ("analysis/", "concepts/", "eval/")
"""What is certified unless measures are named: reported metrics that begin so."""


@dataclass(frozen=True)
class MeasureCertificate:
    """How far one measure at one step tells which trials have the best target."""

    measure: str
    step: int
    found: Certificate
    """Below 0: the trials that the measure calls better have the worse target."""


def measure_certificates(
    record: Record, target: str, *, measures: Sequence[str] = (), steps: Sequence[int] = (), until: int | None = None
) -> list[MeasureCertificate]:
    """Of each measure at each step with the target there, or at step `until`: over the trials that reported both.

    No measures: all reported ones of ASKED that tell trials apart; no steps: the rungs and the last. Best tau first
    within a step. ValueError names what no trial reported.
    """
    trials = [trial for trial in record.trials.values() if trial.reports]
    reported = sorted({name for trial in trials for report in trial.reports.values() for name in report.metrics})
    if unknown := [name for name in (target, *measures) if name not in reported]:
        raise ValueError(f"no trial reported {', '.join(unknown)}; reported are: {', '.join(reported) or 'none'}")
    last = max(trial.reached for trial in trials)
    named = measures or [name for name in reported if name.startswith(ASKED) and name != target]

    def costs(metric: str, step: int) -> dict[str, float]:
        sign = 1 if less_is_better(metric) else -1
        return {trial.id: sign * value for trial in trials for at, value in trial.curve(metric) if at == step}

    found: list[MeasureCertificate] = []
    for step in steps or sorted({*stopping(record).rungs(last), last}):
        final = costs(target, until or step)
        early = {measure: costs(measure, step) for measure in named}
        looks = [
            MeasureCertificate(measure, step, certify(seen, final))
            for measure, seen in early.items()
            if measures or len(set(seen.values())) > 1
        ]
        found += sorted(looks, key=lambda look: -(look.found.tau or 0))
    return found
