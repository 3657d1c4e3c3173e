"""cogito-ray submit: a sweep, a run or a plan as a job of a cluster."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import cogito_ray as cr
from cogito_ray.commands.shared_options import File, Overrides, app
from cogito_ray.display.console import out

if TYPE_CHECKING:
    from cogito_ray.runtime.jobs.submitted_job import SubmittedJob


@app.command(
    epilog="Example: cogito-ray submit sweep sweep.yaml --address http://127.0.0.1:8265 --storage /shared/runs"
)
def submit(
    command: Annotated[Literal["sweep", "train", "plan"], typer.Argument(help="What to do there.", show_default=False)],
    file: File,
    overrides: Overrides = None,
    *,
    address: Annotated[str, typer.Option(envvar="RAY_ADDRESS", help="Of its dashboard, http://...")],
    storage: Annotated[Path, typer.Option(help="Folder that all machines see.")],
    name: Annotated[str | None, typer.Option(help="Of a run's folder in the storage; the file's if not given.")] = None,
    installed: Annotated[bool, typer.Option("--installed", help="This version is there: send settings alone.")] = False,
    doctor: Annotated[bool, typer.Option(help="Have the machines examined first.")] = True,
) -> None:
    """Run a sweep or a plan or train a run on a cluster, and follow it: the same command follows again, or resumes.

    Its exit status is that of the command there. RAY_AUTH_MODE=token and RAY_AUTH_TOKEN are the key to the cluster.
    """
    job = cr.submit(
        command, file, address=address, storage=storage, name=name, overrides=overrides or (), installed=installed,
        doctor=doctor,
    )  # fmt: skip
    try:
        status = followed(job)
    except KeyboardInterrupt:
        status = _left(job)
    raise typer.Exit(status)


def followed(job: "SubmittedJob") -> int:
    """Prints what it prints; its exit status."""
    return job.follow(lambda text: print(text, end="", flush=True))


def _left(job: "SubmittedJob") -> int:
    """After Ctrl-C: ends the job where a person says so, else says how that is done later."""
    if sys.stdin.isatty() and typer.confirm(f"\nStop the job {job.id}, too?"):
        job.client.stop_job(job.id)
        return followed(job)
    out.print(f"The job goes on. The same command follows it; this stops it: {job.stop_command}", soft_wrap=True)
    return 130
