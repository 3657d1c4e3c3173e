"""cogito-ray dashboard: what shows live metrics, and Prometheus and Grafana set up for them."""

import os
from pathlib import Path
from typing import Annotated

import typer

import cogito_ray as cr
from cogito_ray.commands.shared_options import app
from cogito_ray.display.console import err, out


@app.command(epilog="Example: cogito-ray dashboard")
def dashboard(
    folder: Annotated[Path, typer.Option(help="For files that Prometheus and Grafana read.")] = Path("monitoring"),
    ray_folder: Annotated[
        Path | None, typer.Option(help="Ray's --temp-dir, where it was given one.", show_default=False)
    ] = None,
    start: Annotated[bool, typer.Option("--start", help="Become Prometheus, until Ctrl-C.")] = False,
) -> None:
    """Say where to look at what runs; write alerts and a dashboard for Prometheus and Grafana, or start the former."""
    from cogito_ray.records.monitoring.monitoring_folder import INSTALL_PROMETHEUS

    found = cr.dashboard(folder, ray_folder=ray_folder)
    if not start:
        for line in found.advice():
            out.print(line, markup=False, soft_wrap=True)
        return
    if found.prometheus is None:
        err.print(f"Prometheus is {INSTALL_PROMETHEUS}")
        raise typer.Exit(1)
    os.execv(found.prometheus[0], found.prometheus)
