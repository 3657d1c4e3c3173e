"""Every figure that a sweep or run shows while it works. What emits them, dashboard, alerts and docs are made from it.

Ray prefixes their names and serves them to Prometheus. Labels have few values: trials are named while they run, and
their series end with them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

PREFIX = "cogito_"
EXPERIMENT, TRIAL = ("experiment",), ("experiment", "trial")


@dataclass(frozen=True)
class Metric:
    """A row of the table."""

    name: str
    unit: str
    labels: tuple[str, ...]
    help: str
    section: str
    """Of the dashboard."""
    reported: str = ""
    """Names of what a report measures that it shows; where there is a `*`, the last label says what stands there."""
    kind: Literal["gauge", "counter", "histogram"] = "gauge"
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram's, in its unit."""

    @property
    def emitted(self) -> str:
        """Its name for Ray."""
        return PREFIX + self.name

    @property
    def series(self) -> str:
        """Its name in Prometheus."""
        return f"ray_{self.emitted}{'_total' if self.kind == 'counter' else ''}"

    @property
    def query(self) -> str:
        """What a panel of it asks, of the experiments and trials that a reader chose. A driver that starts again is
        another process, and so another series: the largest of equal labels is the one."""
        chosen = ", ".join(f'{label}=~"${label}"' for label in self.labels if label in TRIAL)
        by = ", ".join(self.labels)
        if self.kind == "histogram":
            return f"histogram_quantile(0.9, sum by (le, {by}) (rate({self.series}_bucket{{{chosen}}}[5m])))"
        return f"max by ({by}) ({self.series}{{{chosen}}})"


METRICS = (
    Metric("trials", "trials", (*EXPERIMENT, "state"), "Trials, further runs included, by state.", "Sweep"),
    Metric("trials_planned", "trials", EXPERIMENT, "What budget.trials allows.", "Sweep"),
    Metric("guard_kills", "runs", (*EXPERIMENT, "cause"), "Runs that guards ended.", "Sweep", kind="counter"),
    Metric("budget_spent_hours", "h", (*EXPERIMENT, "resource"), "Spent over all starts: cpu, gpu, wall.", "Budget"),
    Metric("budget_left_hours", "h", (*EXPERIMENT, "resource"), "Left of what the budget bounds.", "Budget"),
    Metric("budget_spent_share", "share", (*EXPERIMENT, "resource"), "Spent of each bound, disk included.", "Budget"),
    Metric("storage_free_bytes", "bytes", EXPERIMENT, "Free where the experiment is written.", "Budget"),
    Metric("storage_free_share", "share", EXPERIMENT, "The same, of the whole disk.", "Budget"),
    Metric("loss_nats", "nats", (*TRIAL, "term"), "Mean since the last report, by term.", "Losses", "loss/*"),
    Metric(
        "loss_gradient_share", "share", (*TRIAL, "term"), "Of the encoder's gradient, by term.", "Losses",
        "loss/*_gradient_share",
    ),
    Metric("evaluation", "", (*TRIAL, "metric"), "On held-out rows; the metric names its unit.", "Goals", "eval/*"),
    Metric("concepts", "", (*TRIAL, "metric"), "Ranks, and what else is measured of concepts.", "Goals", "concepts/*"),
    Metric("step", "steps", TRIAL, "Steps done.", "Progress"),
    Metric("progress_share", "share", TRIAL, "Steps done of those planned.", "Progress"),
    Metric("rung_steps", "steps", TRIAL, "Highest rung of early stopping that was reached.", "Progress"),
    Metric("last_report_timestamp_seconds", "s", TRIAL, "When it reported last, since 1970.", "Progress"),
    Metric("report_interval_seconds", "s", TRIAL, "Between its last two reports.", "Progress"),
    Metric("tokens_per_second", "tokens/s", TRIAL, "By all workers.", "Speed", "time/tokens_per_s"),
    Metric("model_flops_utilization", "share", TRIAL, "Of the device's matrix rate (MFU).", "Speed", "time/mfu"),
    Metric("model_parameters", "parameters", TRIAL, "Of all weights, how many.", "Speed", "model/parameters"),
    Metric("data_wait_share", "share", TRIAL, "Of the time spent waiting for data.", "Speed", "time/data_wait_share"),
    Metric(
        "checkpoint_seconds", "s", EXPERIMENT, "To write a checkpoint, beside training.", "Speed",
        kind="histogram", buckets=(0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300),
    ),
    Metric("learning_rate", "", TRIAL, "Of this step.", "Optimizer", "optimizer/learning_rate"),
    Metric("gradient_norm", "", TRIAL, "Largest since the last report.", "Optimizer", "optimizer/gradient_norm"),
    Metric("weight_norm", "", TRIAL, "Of all weights.", "Optimizer", "optimizer/weight_norm"),
    Metric("skipped_steps_share", "share", TRIAL, "Gradient not finite.", "Optimizer", "optimizer/skipped_share"),
    Metric("gradient_noise_rows", "rows", TRIAL, "Noise scale.", "Optimizer", "gradient/noise_scale_rows"),
)  # fmt: skip
BY_NAME = {metric.name: metric for metric in METRICS}
Labels = tuple[str, ...]


@lru_cache(maxsize=1024)
def shown_by(reported: str) -> tuple[Metric, Labels] | None:
    """The metric that shows what a report calls by this name, and its labels besides the trial's; None: no metric does.
    The longest pattern that fits counts."""
    for metric in sorted(METRICS, key=lambda one: len(one.reported), reverse=True):
        if found := re.fullmatch(re.escape(metric.reported).replace(r"\*", "(.+)"), reported):
            return metric, found.groups()
    return None


def of_report(metrics: Mapping[str, float]) -> Iterator[tuple[Metric, Labels, float]]:
    """Each figure of a report that a metric shows."""
    for name, value in metrics.items():
        if (found := shown_by(name)) is not None:
            yield *found, value
