"""One table of metrics: dashboard, alerts and documentation hold its rows, and nothing else."""

import json
import re

import pytest
from corpora import unread_run
from metrics_page import metrics_page

from cogito_ray.records.monitoring import monitoring_folder
from cogito_ray.records.monitoring.grafana_files import dashboard
from cogito_ray.records.monitoring.metrics_table import METRICS, TRIAL, of_report
from cogito_ray.records.monitoring.monitoring_folder import MonitoringFolder
from cogito_ray.records.monitoring.prometheus_files import ALERTS, DISCOVERY
from cogito_ray.run_spec import RunSpec

SERIES = re.compile(r"ray_cogito_\w+?(?=_bucket|\b)")
BOUNDED = {*TRIAL, "state", "cause", "resource", "term", "metric"}
"""Labels that have few values at a time: trials are named while they run."""


def panels():
    return [target["expr"] for panel in json.loads(dashboard())["panels"] for target in panel.get("targets", ())]


def test_every_metric_has_a_panel_of_its_own():
    assert sorted(SERIES.findall(query)[0] for query in panels()) == sorted(one.series for one in METRICS)


def test_every_metric_is_documented():
    page = metrics_page()
    assert all(f"`{metric.series}`" in page and metric.help in page for metric in METRICS)
    assert all(alert.name in page for alert in ALERTS)


def test_no_query_names_what_is_no_metric():
    variables = [variable["query"] for variable in json.loads(dashboard())["templating"]["list"]]
    asked = [*panels(), *variables, *(alert.query for alert in ALERTS)]
    assert {name for query in asked for name in SERIES.findall(query)} <= {metric.series for metric in METRICS}


def test_panels_do_not_overlap():
    places = [panel["gridPos"] for panel in json.loads(dashboard())["panels"]]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells))


def test_rows_of_panels_are_what_grafana_takes_for_rows():
    rows = [panel for panel in json.loads(dashboard())["panels"] if panel["type"] == "row"]
    assert [row["title"] for row in rows] == list(dict.fromkeys(metric.section for metric in METRICS))
    assert all(row["panels"] == [] and row["collapsed"] is False for row in rows)    # both are required of a RowPanel


def test_labels_have_few_values():
    assert {label for metric in METRICS for label in metric.labels} <= BOUNDED


@pytest.mark.parametrize("part", [{}, {"loss": {"regularisers": [{"kind": "variance"}]}}, {"evaluation": {"rows": 8}}])
def test_whatever_a_run_reports_is_shown(part):
    named = RunSpec.model_validate(unread_run() | part).metrics
    shown = {(metric.name, labels) for metric, labels, _ in of_report(dict.fromkeys(named, 1.0))}
    assert len(shown) == len(named)


def test_a_gradient_share_is_no_loss():
    [(metric, labels, value)] = of_report({"loss/variance_gradient_share": 0.5})
    assert (metric.name, labels, value) == ("loss_gradient_share", ("variance",), 0.5)


def test_files_are_where_each_other_look_for_them(tmp_path):
    folder = MonitoringFolder(tmp_path)
    folder.write(tmp_path / "ray" / DISCOVERY)
    boards = tmp_path / "grafana" / "dashboards"
    assert str(boards) in (tmp_path / "grafana" / "provisioning" / "dashboards" / "cogito-ray.yml").read_text()
    assert (boards / "cogito-ray.json").read_text() == dashboard()
    assert (tmp_path / "alerts.yml").exists()
    assert str(tmp_path / "ray" / DISCOVERY) in (tmp_path / "prometheus.yml").read_text()


@pytest.mark.parametrize("installed", [True, False])
def test_what_is_missing_is_said_with_how_to_get_it(tmp_path, monkeypatch, installed):
    monkeypatch.setattr(monitoring_folder, "PROMETHEUS_PORT", 0)    # at which nobody can listen
    binary = tmp_path / "prometheus"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) if installed else "")
    [prometheus] = [line for line in MonitoringFolder(tmp_path).advice() if line.startswith("Prometheus")]
    assert ("apt-get install" in prometheus) != installed
