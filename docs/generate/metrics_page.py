"""The reference of live metrics, as Markdown, from their table."""

from itertools import groupby

from cogito_ray.records.monitoring.metrics_table import METRICS, Metric
from cogito_ray.records.monitoring.prometheus_files import ALERTS

OPENING = """# Live metrics

What a sweep or run serves to Prometheus while it works; [See live metrics](../how-to/monitoring.md) says how to see it.
Every metric is labelled with `experiment`, the name of the sweep or run. `trial` is a trial's number, while it runs:
its series end with it. A further run has the beginning of its own name behind the number.
"""


def metrics_page() -> str:
    """All metrics by the dashboard's sections, then the alerts."""
    parts = [OPENING]
    for section, metrics in groupby(METRICS, key=lambda metric: metric.section):
        rows = "\n".join(_row(metric) for metric in metrics)
        parts.append(f"## {section}\n\n| metric | kind | unit | labels | |\n|---|---|---|---|---|\n{rows}\n")
    alerts = "\n".join(f"| {alert.name} | `{alert.query}` | {alert.lasting} |" for alert in ALERTS)
    parts.append(f"## Alerts\n\n| alert | when | for |\n|---|---|---|\n{alerts}\n")
    return "\n".join(parts)


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels if label != "experiment")
    shows = f" (`{metric.reported}`)" if metric.reported else ""
    return f"| `{metric.series}` | {metric.kind} | {metric.unit} | {labels} | {metric.help}{shows} |"
