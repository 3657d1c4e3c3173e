"""cogito-ray evaluate: asks trained encoders labelled questions, over the cluster."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from cogito_ray.base_spec import brief
from cogito_ray.commands.app import AsJson, app
from cogito_ray.display import tables
from cogito_ray.display.console import err, out
from cogito_ray.evaluation.tasks.document_tasks import DOCUMENT_TASKS
from cogito_ray.evaluation.tasks.sentence_tasks import DEFAULT
from cogito_ray.records.results.evaluation_scores import scored
from cogito_ray.sweeps.yaml_io.yaml_parser import NotSettings, parse


@app.command(epilog="Example: cogito-ray evaluate runs/debug --tasks stsb,sick-relatedness --data data")
def evaluate(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Checkpoints, or folders whose runs are asked at their newest one.", show_default=False),
    ],
    tasks: Annotated[
        str, typer.Option(help=f"Names, separated by commas. Of whole documents: {', '.join(DOCUMENT_TASKS)}.")
    ] = ",".join(DEFAULT),
    protocol: Annotated[str, typer.Option(help="Of zero-shot, probe, fine-tune.")] = "zero-shot,probe",
    fine_tune: Annotated[
        list[str] | None,
        typer.Option(help="Settings as YAML, such as '{head: {kind: attention}, epochs: 3}'; one option a variant."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Of fine-tuning, into which alone chance enters.")] = 1,
    limit: Annotated[int | None, typer.Option(min=2, help="Training examples, at most.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of Parquet files such as glue/stsb/train.parquet; none: from the hub.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask trained encoders labelled questions, beside baselines; answers are kept in their ledgers.

    zero-shot: cosines; probe: a linear map of frozen concepts; fine-tune: everything is trained.
    """
    from cogito_ray.evaluation.checkpoint_loader import newest_of_each, whole
    from cogito_ray.evaluation.protocols.document_protocols import questions_of
    from cogito_ray.evaluation.protocols.task_runner import protocols_of
    from cogito_ray.runtime.evaluation.batch_evaluation import Progress
    from cogito_ray.runtime.evaluation.batch_evaluation import evaluate as ask

    names = _listed(protocol)
    asked = questions_of(_listed(tasks), protocols_of(names, _settings(names, limit, fine_tune or [])), seeds)
    found, torn = whole(folder for run in runs for folder in newest_of_each(run.absolute()))
    if not found:
        raise ValueError("\n".join(torn))

    def tell(told: Progress) -> None:
        if not as_json:
            out.print(f"{told.done} of {told.total}: {told.unit}")

    answers = ask(found, asked, data and data.absolute(), tell)
    faults = [*torn, *answers.faults]
    rows = scored(answers.known.values())
    if as_json:
        counts = {"computed": answers.computed, "known": len(answers.known) - answers.computed}
        print(json.dumps(counts | {"faults": faults, "results": [asdict(row) for row in rows]}))
    else:
        if not answers.computed and not faults:
            out.print(f"nothing to do: all {len(answers.known)} answers are in the ledgers")
        out.print(tables.scores(rows))
    for fault in faults:
        err.print(fault)
    if faults:
        raise typer.Exit(1)


def _listed(names: str) -> list[str]:
    """Names separated by commas, each once."""
    return list(dict.fromkeys(name.strip() for name in names.split(",")))


def _settings(names: list[str], limit: int | None, fine_tune: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Of each protocol, one entry a variant."""
    given = {"fine-tune": [_yaml(text) for text in fine_tune]} if fine_tune else {}
    if limit is not None:
        trained = [name for name in ("probe", "fine-tune") if name in names]
        given |= {name: [{"rows": limit} | each for each in given.get(name, [{}])] for name in trained}
    return given


def _yaml(text: str) -> dict[str, Any]:
    try:
        return parse(text.encode()).tree
    except NotSettings as fault:
        raise ValueError(f"--fine-tune {brief(text)}: {fault}; write it like '{{epochs: 3}}'") from None
