"""The card of an exported model: what it is, from what it was made, what it scored, and how to load it."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from cogito_ray.evaluation.tasks.sentence_tasks import TASKS
from cogito_ray.records.ledger import NAME, Evaluated, ForecastSealed, Promoted, events
from cogito_ray.records.results.evaluation_scores import Scored, scored
from cogito_ray.records.results.trial_ranking import figures
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.yaml_io.yaml_writer import dump, inline

METADATA: dict[str, object] = {
    "library_name": "sentence-transformers",
    "pipeline_tag": "sentence-similarity",
    "tags": ["concept-encoder", "cogito-ray", "sentence-transformers", "feature-extraction", "custom_code"],
}
TEXT = """---
{metadata}---
# {name}

A concept encoder: {concepts} vectors of width {width} read a text of up to {length} tokens. Licence of the weights:
{license}; of the modelling code beside them: Apache-2.0.

```python
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

vectors = SentenceTransformer("{name}", trust_remote_code=True).encode(["A sentence.", "Another one."])
tokenizer = AutoTokenizer.from_pretrained("{name}", trust_remote_code=True)
model = AutoModel.from_pretrained("{name}", trust_remote_code=True)
concepts = model(**tokenizer("A sentence.", return_tensors="pt")).last_hidden_state
```

## Scores

{scores}

## Where it comes from

{lineage}

## Settings of the run, with its data

```yaml
{recipe}```
"""
SCORES = """With 95 % intervals.

| task | protocol | vectors | metric | value | from | to | examples |
|---|---|---|---|---|---|---|---|
"""


def model_card(
    run: RunSpec, step: int, ledger: Path, facts: Mapping[str, object], *, name: str, license: str | None
) -> dict[str, str]:
    """README.md, and the scores as the Hub reads them, by the path of each file. `facts` name what it was trained on;
    `license` is of the Hub's list, None = nobody said."""
    asked = (event for event in events(ledger) if isinstance(event, Evaluated))
    rows = scored(event for event in asked if (event.trial, event.step) == (run.digest(), step))
    own = [row for row in rows if not row.baseline]
    metadata = METADATA | ({"license": license} if license else {})
    if own:
        metadata["model-index"] = [{"name": name, "results": list(map(_indexed, own))}]
    cells = ((row.task, row.protocol, f"{row.vectors} (baseline)" if row.baseline else row.vectors, row.metric,
              *map(figures, (row.value, row.low, row.high)), row.examples) for row in rows)  # fmt: skip
    lines = [*(f"{key}: {value}" for key, value in facts.items()), *_lineage(run, ledger)]
    card = TEXT.format(
        metadata=yaml.safe_dump(metadata, sort_keys=False),
        name=name,
        concepts=run.model.concepts,
        width=run.model.width,
        length=run.data.length,
        license=license or "not stated",
        scores=SCORES + "\n".join(f"| {' | '.join(map(str, row))} |" for row in cells) if rows else "None yet.",
        lineage="\n".join(f"- {line}" for line in lines),
        recipe=dump(run.model_dump(mode="json")),
    )
    hub = {row.task: [_entry(each) for each in own if each.task == row.task] for row in own if row.task in TASKS}
    return {"README.md": card} | {f".eval_results/{task}.yaml": yaml.safe_dump(each) for task, each in hub.items()}


def _indexed(row: Scored) -> dict[str, object]:
    """As `model-index` has it."""
    dataset = {"type": TASKS[row.task].hub if row.task in TASKS else row.task, "name": row.task}
    metric = {"type": row.metric, "name": _said(row), "value": row.value}
    return {"task": {"type": "sentence-similarity"}, "dataset": dataset, "metrics": [metric]}


def _entry(row: Scored) -> dict[str, object]:
    dataset = {"id": TASKS[row.task].hub, "task_id": TASKS[row.task].config or "default"}
    return {"dataset": dataset, "value": row.value, "notes": _said(row)}


def _said(row: Scored) -> str:
    return f"{row.metric}, {row.protocol}, {row.vectors}, 95 % interval {figures(row.low)} to {figures(row.high)}"


def _lineage(run: RunSpec, ledger: Path) -> Iterator[str]:
    """The sweep, earlier weights, and what was foretold of it."""
    if run.start_from is not None:
        yield f"began from {inline(run.start_from.model_dump(mode='json'))}"
    for place in (ledger, ledger.parents[2] / NAME):
        for event in events(place) if place.is_file() else ():
            match event:
                case Promoted() if event.run == run.digest():
                    yield f"full run of trial {event.trial} of {place.parent.name}"
                case ForecastSealed() if event.run == run.digest() and event.value is not None:
                    bounds = (event.value if one is None else one for one in (event.value, event.low, event.high))
                    value, low, high = map(figures, bounds)
                    yield f"foretold before it began: {event.goal} {value}, {low} to {high} in nine of ten cases"
