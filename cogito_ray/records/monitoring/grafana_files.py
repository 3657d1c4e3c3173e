"""What Grafana reads: a dashboard with a panel a metric, and where to find it and Prometheus (provisioning)."""

import json
from itertools import groupby
from typing import Any

from cogito_ray.records.monitoring.metrics_table import METRICS, Metric
from cogito_ray.sweeps.space.dotted_paths import Tree
from cogito_ray.sweeps.yaml_io.yaml_writer import dump

UNITS = {"share": "percentunit", "bytes": "bytes", "s": "s", "h": "h", "trials": "none", "steps": "none"}
"""Grafana's names of ours; others are shown as numbers."""
COLUMNS, WIDTH, HEIGHT = 3, 8, 8
"""Of panels in a grid 24 wide."""
SOURCE = {"type": "prometheus", "uid": "cogito-prometheus"}


def dashboard() -> str:
    """JSON of the dashboard: a `Dashboard` of the npm package @grafana/schema."""
    panels, top = list[dict[str, Any]](), 0
    for section, metrics in groupby(METRICS, key=lambda metric: metric.section):
        row = {"type": "row", "title": section, "collapsed": False, "panels": []}
        panels.append(row | {"gridPos": {"x": 0, "y": top, "w": 24, "h": 1}})
        for number, metric in enumerate(metrics):
            place = {"x": number % COLUMNS * WIDTH, "y": top + 1 + number // COLUMNS * HEIGHT, "w": WIDTH, "h": HEIGHT}
            panels.append(_panel(metric, place))
        top = panels[-1]["gridPos"]["y"] + HEIGHT
    trial = _variable("trial", "step", '{experiment=~"$experiment"}')
    tree = {
        "uid": "cogito-ray",
        "title": "cogito-ray",
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_variable("experiment", "trials"), trial]},
        "panels": [panel | {"id": number} for number, panel in enumerate(panels, start=1)],
    }
    return json.dumps(tree, indent=1) + "\n"


def _panel(metric: Metric, place: dict[str, int]) -> dict[str, Any]:
    name = metric.name.replace("_", " ")
    legend = " ".join(f"{{{{{label}}}}}" for label in metric.labels)
    return {
        "type": "timeseries",
        "title": f"{name} (90 % are faster)" if metric.kind == "histogram" else name,
        "description": metric.help,
        "gridPos": place,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": UNITS.get(metric.unit, "short")}, "overrides": []},
        "targets": [{"refId": "A", "datasource": SOURCE, "expr": metric.query, "legendFormat": legend}],
    }


def _variable(label: str, metric: str, chosen: str = "") -> dict[str, Any]:
    [series] = [one.series for one in METRICS if one.name == metric]
    return {
        "type": "query",
        "name": label,
        "datasource": SOURCE,
        "query": f"label_values({series}{chosen}, {label})",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def provisioning(dashboards: str, prometheus: str) -> dict[str, str]:
    """Files of a provisioning folder, by path in it. `dashboards`: the folder of dashboards; `prometheus`: its URL."""
    source: Tree = {**SOURCE, "name": "Prometheus", "url": prometheus, "isDefault": True}
    provider: Tree = {"name": "cogito-ray", "type": "file", "options": {"path": dashboards}}
    return {
        "datasources/prometheus.yml": dump({"apiVersion": 1, "datasources": [source]}),
        "dashboards/cogito-ray.yml": dump({"apiVersion": 1, "providers": [provider]}),
    }
