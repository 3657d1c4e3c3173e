"""cogito-ray evaluate: asks trained encoders labelled questions, over the cluster."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

import cogito_ray as cr
from cogito_ray.commands.shared_options import RUNS, AsJson, app, numbers
from cogito_ray.display.console import err, out
from cogito_ray.evaluation.tasks.document_tasks import DOCUMENT_TASKS
from cogito_ray.evaluation.tasks.sentence_tasks import DEFAULT


@app.command(epilog="Example: cogito-ray evaluate runs/debug --tasks stsb,sick-relatedness --data data")
def evaluate(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Checkpoints, or folders whose runs are asked at their newest one; folders or Hub names of any "
            "transformers or sentence-transformers model.",
            show_default=False,
        ),
    ],
    tasks: Annotated[
        str,
        typer.Option(help=f"Names, or glue, sick, all, by commas. Of whole documents: {', '.join(DOCUMENT_TASKS)}."),
    ] = ",".join(DEFAULT),
    protocol: Annotated[
        list[str],
        typer.Option(
            help="Of zero-shot, probe, fine-tune, separated by commas; or one with settings, as YAML, such as "
            "'{kind: fine-tune, head: {kind: attention}, epochs: 3}'. May be given again."
        ),
    ] = ["zero-shot,probe"],  # noqa: B006  (typer copies it)
    seeds: Annotated[int, typer.Option(min=1, help="Of fine-tuning, into which alone chance enters.")] = 1,
    limit: Annotated[int | None, typer.Option(min=2, help="Training examples, at most.")] = None,
    iterations: Annotated[
        str | None, typer.Option(help="Apply a tied encoder's block so many times each, such as 2,4,6,8,12.")
    ] = None,
    length: Annotated[
        str | None, typer.Option(help="Read rows of so many tokens each, such as 512,4096; positions are stretched.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of Parquet files such as glue/stsb/train.parquet; none: from the hub.")
    ] = None,
    plugin: Annotated[
        list[str] | None, typer.Option(help="Module, or file of Python, that registers tasks; may be given again.")
    ] = None,
    storage: Annotated[Path, typer.Option(help="Folder that keeps the answers of models which are no run's.")] = RUNS,
    as_json: AsJson = False,
) -> None:
    """Ask trained encoders labelled questions, beside baselines; answers are kept in their ledgers.

    zero-shot: cosines; probe: a linear map of frozen concepts; fine-tune: everything is trained.
    """
    asked = {
        "tasks": tasks,
        "protocols": [each for given in protocol for each in _protocols(given)],
        "seeds": seeds,
        "limit": limit,
        "iterations": numbers(iterations, "--iterations"),
        "lengths": numbers(length, "--length"),
        "data": data,
    }
    scores = cr.evaluate(runs, asked, plugins=plugin or [], storage=storage, verbose=not as_json)
    if as_json:
        told = {"computed": scores.computed, "known": scores.known, "faults": scores.faults}
        print(json.dumps(told | {"results": [asdict(row) for row in scores.rows]}))
    else:
        from cogito_ray.display import result_tables

        out.print(result_tables.scores(scores.rows))
    for fault in scores.faults:
        err.print(fault)
    if scores.faults:
        raise typer.Exit(1)


def _protocols(given: str) -> list[str | dict[str, Any]]:
    """Names, or one with its settings."""
    from cogito_ray.base_spec import brief
    from cogito_ray.sweeps.yaml_io.yaml_parser import NotSettings, parse

    if not given.lstrip().startswith("{"):
        return [name.strip() for name in given.split(",")]
    try:
        return [parse(given.encode()).tree]
    except NotSettings as fault:
        said = f"--protocol {brief(given)}: {fault}; write it like '{{kind: fine-tune, epochs: 3}}'"
        raise ValueError(said) from None
