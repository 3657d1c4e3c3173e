"""cogito-ray stop, pause, resume, add, budget and concurrency; status, serve and dashboard: to steer and to watch."""

import json
import os
import secrets
import time
from pathlib import Path
from typing import Annotated

import typer

import cogito_ray as cr
from cogito_ray.commands.shared_options import RUNS, AsJson, Storage, app
from cogito_ray.display.console import err, out

Run = Annotated[
    Path | None,
    typer.Option(help="The sweep's folder, or its name; the only one that runs if not given.", show_default=False),
]
Trial = Annotated[str, typer.Argument(help="Its number, or how its name begins.", show_default=False)]
TrialOrAll = Annotated[
    str | None, typer.Argument(help="Its number, or how its name begins; all if not given.", show_default=False)
]


@app.command(epilog="Example: cogito-ray stop 3")
def stop(trial: Trial, run: Run = None, storage: Storage = RUNS) -> None:
    """End a trial of a sweep that runs, with what it has reached."""
    out.print(cr.stop(trial, run=run, storage=storage))


@app.command(epilog="Example: cogito-ray pause --run quickstart")
def pause(trial: TrialOrAll = None, run: Run = None, storage: Storage = RUNS) -> None:
    """Let a trial, or the whole sweep, leave checkpoints and wait until it is resumed."""
    out.print(cr.pause(trial, run=run, storage=storage))


@app.command(epilog="Example: cogito-ray resume --run quickstart")
def resume(trial: TrialOrAll = None, run: Run = None, storage: Storage = RUNS) -> None:
    """Let a trial, or the whole sweep, that was paused go on."""
    out.print(cr.resume(trial, run=run, storage=storage))


@app.command(epilog="Example: cogito-ray add objective.rate=0.4 model.concepts=16")
def add(
    point: Annotated[
        list[str], typer.Argument(metavar="PATH=VALUE", help="Values of axes; others are drawn.", show_default=False)
    ],
    run: Run = None,
    storage: Storage = RUNS,
) -> None:
    """Try a point of the space next, besides the trials of the budget."""
    from cogito_ray.sweeps.yaml_io.overrides import sample_of

    out.print(cr.add(sample_of(point), run=run, storage=storage))


@app.command(epilog="Example: cogito-ray budget +4h trials=+8")
def budget(
    changes: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=][+]AMOUNT", help="Of wall if there is no name; + adds to it.", show_default=False
        ),
    ],
    run: Run = None,
    storage: Storage = RUNS,
) -> None:
    """Change what a sweep that runs may spend: wall, cpu_hours, gpu_hours, trials."""
    out.print(cr.budget(*changes, run=run, storage=storage))


@app.command(epilog="Example: cogito-ray concurrency 4")
def concurrency(
    trials: Annotated[int, typer.Argument(min=1, help="At a time.", show_default=False)],
    run: Run = None,
    storage: Storage = RUNS,
) -> None:
    """Change how many trials of a sweep run at a time."""
    out.print(cr.concurrency(trials, run=run, storage=storage))


@app.command(epilog="Example: cogito-ray status runs/quickstart")
def status(
    run: Annotated[
        Path | None, typer.Argument(help="Folder of a sweep, run or plan, or its name; else all.", show_default=False)
    ] = None,
    storage: Storage = RUNS,
    as_json: AsJson = False,
) -> None:
    """Say how far a sweep, run or plan is, or all below a storage."""
    from cogito_ray.display import result_tables
    from cogito_ray.object_storage.storage_mirror import local
    from cogito_ray.records import plan_record

    plans = plan_record.found(local(storage), run)
    found = [] if run is not None and plans else cr.status(run, storage=storage)
    if as_json:
        told = [{"folder": str(path), **plan.summary} for path, plan in plans.items()]
        print(json.dumps([*told, *(one.figures() for one in found)]))
        return
    for path, plan in plans.items():
        said = [f"{path}: {plan.standing}; {plan.counts}"] if run is None else plan_record.lines(plan)
        out.print("\n".join(said), markup=False)
    for one in found:
        driver = f" ({one.driver})" if one.driver else ""
        out.print(f"{one.path}: {one.state}{driver}")
        if run is not None and one.record.trials:
            out.print(result_tables.live(one.record, time.time() if one.driver else None))
        for event in one.record.controls if run is not None else ():
            asked = event.request.model_dump(mode="json")
            out.print(f"{event.by} asked {asked}: {'' if event.accepted else 'refused: '}{event.outcome}")


@app.command(epilog="Example: cogito-ray serve runs")
def serve(
    runs: Annotated[Path, typer.Argument(help="A storage.")] = RUNS,
    port: Annotated[int, typer.Option(help="On 127.0.0.1.", min=0, max=65535)] = 8477,
    read_only: Annotated[bool, typer.Option("--read-only", help="Nobody may steer a sweep from the page.")] = False,
) -> None:
    """Show every sweep, run and plan below a storage as it goes on, in a browser, with buttons to steer sweeps."""
    from cogito_ray.control.live_server import LiveServer
    from cogito_ray.object_storage.driver_lease import refresh_all
    from cogito_ray.object_storage.storage_mirror import local

    refresh_all(runs := local(runs))
    if not runs.is_dir():
        raise FileNotFoundError(f"{runs}: no such folder; the storage is the one that sweeps were run in")
    token = None if read_only else secrets.token_urlsafe(16)
    with LiveServer(runs.absolute(), port=port, token=token) as server:
        secret = "" if token is None else f"#token={token}"
        out.print(f"http://127.0.0.1:{server.server_address[1]}/{secret}")
        out.print("Open this; from another machine through ssh -L. Ctrl-C ends it, and no sweep with it.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            out.print("closed")


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
