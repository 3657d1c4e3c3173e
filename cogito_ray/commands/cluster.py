"""cogito-ray submit, doctor and verify: work for a cluster, and whether it is fit for it and loses nothing."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

import cogito_ray as cr
from cogito_ray.commands.shared_options import RUNS, AsJson, File, Overrides, Storage, app
from cogito_ray.display.console import out

if TYPE_CHECKING:
    from cogito_ray.runtime.jobs.submitted_job import SubmittedJob
    from cogito_ray.runtime.verification.resume_verification import Compared


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


COLOURS = {"ok": "green", "warning": "yellow", "fault": "red"}


@app.command(epilog="Example: cogito-ray doctor --address http://127.0.0.1:8265 --storage /shared/runs")
def doctor(
    address: Annotated[
        str | None,
        typer.Option(envvar="RAY_ADDRESS", help="http://... of its dashboard, or HOST:PORT; else this machine."),
    ] = None,
    storage: Storage = RUNS,
    as_json: AsJson = False,
) -> None:
    """Examine every machine of a cluster: versions, GPUs, storage, locks, clock, network. Exit 1 where there is a
    fault."""
    if address and address.startswith(("http://", "https://")):
        raise typer.Exit(followed(cr.submit("doctor", address=address, storage=storage, as_json=as_json)))
    found = cr.doctor(address, storage=storage)
    if as_json:
        print(json.dumps([asdict(one) for one in found]))
    else:
        table = Table("", "what", "found", "way out", box=None, pad_edge=False, header_style="bold")
        for one in found:
            table.add_row(one.level, one.what, one.text, one.mend, style=COLOURS[one.level])
        out.print(table)
    if any(one.level == "fault" for one in found):
        raise typer.Exit(1)


@app.command(epilog="Example: cogito-ray verify resume jobs/debug.yaml")
def verify(
    what: Annotated[Literal["resume", "order", "chaos"], typer.Argument(help="What to check.", show_default=False)],
    file: File,
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(min=10, help="To which the run is cut.")] = 100,
    times: Annotated[int, typer.Option(min=1, help="Interruptions, for resume and chaos.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Of the steps at which they come.")] = 0,
    storage: Storage = RUNS,
    as_json: AsJson = False,
) -> None:
    """Train a short run undisturbed and disturbed, and compare weights and rows. Exit 1 where they differ.

    resume kills the driver and gives its command again; chaos kills workers; order compares 1 and 2 workers, mapped and
    streamed.
    """
    changed = overrides or ()
    compared = cr.verify(what, file, storage=storage, overrides=changed, steps=steps, times=times, seed=seed)
    holds = all(each.holds for each in compared)
    if as_json:
        told = [asdict(each) | {"holds": each.holds} for each in compared]
        run = cr.check(file, overrides=changed).spec.digest()
        print(json.dumps({"check": what, "run": run, "holds": holds, "trainings": told}))
    else:
        out.print(_table(compared))
        out.print(f"{what} {'holds' if holds else 'DOES NOT HOLD'} for {file}", style="bold")
    if not holds:
        raise typer.Exit(1)


def _table(compared: "list[Compared]") -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("training", "seconds", "rows", "weights differ by", "verdict"):
        table.add_column(name)
    for each in compared:
        differ = f"{each.distance:.2g} (tolerated: {each.tolerance:g})" if each.distance else "nothing"
        verdict = "holds" if each.holds else "differs"
        table.add_row(each.what, f"{each.seconds:.0f}", each.rows[:12], differ, verdict)
    return table
