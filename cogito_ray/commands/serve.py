"""cogito-ray serve: the live page of a storage."""

import secrets
from pathlib import Path
from typing import Annotated

import typer

from cogito_ray.commands.shared_options import RUNS, app
from cogito_ray.display.console import out


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
