"""A folder that Prometheus and Grafana can be started with, and what of them is there on this machine."""

import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cogito_ray.atomic_files import atomic_write_text
from cogito_ray.records.monitoring import grafana_files, prometheus_files

RAY_PORTS, PROMETHEUS_PORT, GRAFANA_PORT = range(8265, 8275), 9090, 3000
INSTALL_PROMETHEUS = "not installed: apt-get install prometheus, or see https://prometheus.io/download"
INSTALL_GRAFANA = "not running: see https://grafana.com/docs/grafana/latest/setup-grafana/installation"
LOCAL = "127.0.0.1"


def ray_folder() -> Path:
    """Ray's temporary directory, where nobody gave it another."""
    return Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray"


@dataclass(frozen=True)
class MonitoringFolder:
    """Absolute."""

    path: Path

    def write(self, discovery: Path) -> None:
        """Make its files anew. `discovery`: what is to be scraped, as Ray says it."""
        grafana = self.path / "grafana"
        files = {
            prometheus_files.CONFIG: prometheus_files.config(discovery),
            prometheus_files.RULES: prometheus_files.rules(),
            "grafana/dashboards/cogito-ray.json": grafana_files.dashboard(),
        }
        provided = grafana_files.provisioning(str(grafana / "dashboards"), f"http://{LOCAL}:{PROMETHEUS_PORT}")
        files |= {f"grafana/provisioning/{name}": content for name, content in provided.items()}
        for name, content in files.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            atomic_write_text(self.path / name, content)

    @property
    def prometheus(self) -> list[str] | None:
        """The command that starts it on loopback, its data in this folder; None where it is not installed."""
        binary = shutil.which("prometheus")
        if binary is None:
            return None
        where = f"--web.listen-address={LOCAL}:{PROMETHEUS_PORT}"
        config, data = self.path / prometheus_files.CONFIG, self.path / "prometheus"
        return [binary, f"--config.file={config}", f"--storage.tsdb.path={data}", where]

    def advice(self) -> Iterator[str]:
        """What to open, what is missing, and how to get it."""
        ray = [port for port in RAY_PORTS if _listens(port)]
        opened = ", ".join(f"http://{LOCAL}:{port}" for port in ray)
        key = "; where one asks for a token: ray get-auth-token"
        yield f"Ray dashboard: {f'{opened}{key}' if ray else 'none here; a sweep or run brings it up while it works'}"
        running = f"http://{LOCAL}:{PROMETHEUS_PORT}" if _listens(PROMETHEUS_PORT) else ""
        start = " ".join(self.prometheus or ())
        yield f"Prometheus: {running or start or INSTALL_PROMETHEUS}"
        grafana = f"http://{LOCAL}:{GRAFANA_PORT}/d/cogito-ray" if _listens(GRAFANA_PORT) else INSTALL_GRAFANA
        yield f"Grafana: {grafana}; started with GF_PATHS_PROVISIONING={self.path / 'grafana' / 'provisioning'}"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((LOCAL, port)) == 0
