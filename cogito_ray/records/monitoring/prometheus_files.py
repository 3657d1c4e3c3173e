"""What Prometheus reads: where Ray's processes are to be asked, and what it is to warn of."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from cogito_ray.records.monitoring.metrics_table import BY_NAME
from cogito_ray.sweeps.space.dotted_paths import Tree
from cogito_ray.sweeps.yaml_io.yaml_writer import dump

CONFIG, RULES = "prometheus.yml", "alerts.yml"
DISCOVERY = "prom_metrics_service_discovery*.json"
"""Files in Ray's temporary directory that name what is to be scraped, kept up to date by Ray: its own, of the instance
that began last, and one of each driver's instance."""
SCRAPED_EVERY_S = 10
"""As often as Ray's processes export."""


@dataclass(frozen=True)
class Alert:
    """Somebody should look."""

    name: str
    condition: str
    lasting: str
    """How long it must hold."""
    summary: str
    uses: tuple[str, ...]
    """Metrics that the condition names in braces."""

    @property
    def query(self) -> str:
        """In PromQL."""
        return self.condition.format(**{name: BY_NAME[name].series for name in self.uses})


ALERTS = (
    Alert(
        "TrialStalled",
        "time() - max by (experiment, trial) ({last_report_timestamp_seconds}) > 300 and "
        "time() - max by (experiment, trial) ({last_report_timestamp_seconds}) > "
        "5 * max by (experiment, trial) ({report_interval_seconds})",
        "1m",
        "trial {{ $labels.trial }} of {{ $labels.experiment }} has not reported for {{ $value | humanizeDuration }}",
        ("last_report_timestamp_seconds", "report_interval_seconds"),
    ),
    Alert(
        "RunDiverged",
        "increase({guard_kills}[15m]) > 0 or ({guard_kills} > 0 unless {guard_kills} offset 15m)",
        "0s",
        "a guard has ended a run of {{ $labels.experiment }}: {{ $labels.cause }}",
        ("guard_kills",),
    ),
    Alert(
        "BudgetNearlySpent",
        '{budget_spent_share}{{resource!="disk"}} > 0.9',
        "0s",
        "{{ $value | humanizePercentage }} of budget {{ $labels.resource }} of {{ $labels.experiment }} is spent",
        ("budget_spent_share",),
    ),
    Alert(
        "DiskNearlyFull",
        "{storage_free_share} < 0.1",
        "1m",
        "{{ $value | humanizePercentage }} of the disk under {{ $labels.experiment }} is free",
        ("storage_free_share",),
    ),
)


def config(discovery: Path) -> str:
    """Of a Prometheus that stands beside the file of alerts. `discovery`: Ray's file of what is to be scraped."""
    named: Tree = {"files": [str(discovery)], "refresh_interval": f"{SCRAPED_EVERY_S}s"}  # it may not be there yet
    return dump(
        {
            "global": {
                "scrape_interval": f"{SCRAPED_EVERY_S}s",
                "scrape_timeout": f"{SCRAPED_EVERY_S}s",
                "evaluation_interval": f"{SCRAPED_EVERY_S}s",
            },
            "rule_files": [RULES],
            "scrape_configs": [{"job_name": "ray", "file_sd_configs": [named]}],
        }
    )


def rules() -> str:
    """The file of alerts."""
    listed: list[JsonValue] = [
        {"alert": one.name, "expr": one.query, "for": one.lasting, "annotations": {"summary": one.summary}}
        for one in ALERTS
    ]
    return dump({"groups": [{"name": "cogito-ray", "rules": listed}]})
