"""cogito-ray stop, pause, resume, add, budget and concurrency: what may be asked of a sweep while it runs."""

from pathlib import Path
from typing import Annotated

import typer

import cogito_ray as cr
from cogito_ray.commands.shared_options import RUNS, Storage, app
from cogito_ray.display.console import out

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
