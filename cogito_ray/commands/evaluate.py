"""cogito-ray evaluate: asks trained encoders labelled questions."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cogito_ray.commands import screen
from cogito_ray.commands.app import AsJson, app, out
from cogito_ray.evaluation.tasks import DEFAULT, tasks_of


@app.command(epilog="Example: cogito-ray evaluate runs/debug --tasks stsb,sick-relatedness --data data")
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A run's or trial's folder, or a checkpoint.", show_default=False)],
    tasks: Annotated[str, typer.Option(help="Names, separated by commas.")] = ",".join(DEFAULT),
    protocol: Annotated[str, typer.Option(help="zero-shot, probe, fine-tune.")] = "zero-shot,probe",
    data: Annotated[
        Path | None, typer.Option(help="Folder of Parquet files such as glue/stsb/train.parquet; none: from the hub.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a trained encoder, frozen, labelled questions: zero-shot similarity and linear probes, beside baselines."""
    from cogito_ray.evaluation import labelled
    from cogito_ray.evaluation.trained import Trained

    asked = tasks_of(tasks.split(","))
    ways = labelled.protocols_of(protocol.split(","))
    trained = Trained.open(checkpoint)
    results = [result for question in labelled.questions(asked, ways) for result in question.ask(trained.reader, data)]
    if as_json:
        told = {"run": trained.run.digest(), "step": trained.step, "results": [asdict(result) for result in results]}
        print(json.dumps(told))
    else:
        out.print(screen.scores(results))
