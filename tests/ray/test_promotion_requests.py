"""A run under real Ray whose checkpoints are asked beside training: whole answers, told faults, nothing twice."""

import json
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from corpora import prepared_run
from pyarrow import parquet

from cogito_ray.cli import main
from cogito_ray.records.ledger import NAME, SweepClosed, events
from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.train.pretraining_driver import pretrain

pytestmark = [pytest.mark.usefixtures("ray_cluster")]
STEPS = 400


def write_data(data: Path) -> None:
    """Made-up SICK and RTE."""
    draw = np.random.default_rng(0)
    words = np.array(["concept", "token", "moment", "radius", "delta"])
    one, two = ([" ".join(draw.choice(words, size=4)) for _ in range(40)] for _ in range(2))
    sick = {"sentence_A": one, "sentence_B": two, "relatedness_score": draw.random(40), "label": [0, 1, 2, 1] * 10}
    rte = {"sentence1": one, "sentence2": two, "label": [0, 1] * 20}
    for folder, columns, splits in (("sick", sick, ("train", "test")), ("glue/rte", rte, ("train", "validation"))):
        (data / folder).mkdir(parents=True)
        for split in splits:
            parquet.write_table(pa.table(columns), data / folder / f"{split}.parquet")


def lose_labels(data: Path, begun: Path) -> None:
    """Somebody puts files without labels in the place of RTE's when a run has begun: found out when they are read."""
    deadline = time.monotonic() + 60
    while not begun.exists():
        assert time.monotonic() < deadline, f"{begun} did not come"
        time.sleep(0.01)
    for file in (data / "glue" / "rte").iterdir():
        table = parquet.read_table(file).drop_columns("label").append_column("label", pa.array([-1] * 40))
        parquet.write_table(table, draft := data / "draft")
        draft.replace(file)


def test_checkpoints_are_asked_while_a_run_trains_and_never_again(tmp_path, monkeypatch, capsys):
    write_data(tmp_path / "data")
    tree = prepared_run(tmp_path)
    tree["training"] |= {"steps": STEPS, "report_every": 20, "checkpoint_every": 40}
    asked = {"tasks": ["sick-relatedness", "rte"], "data": str(tmp_path / "data")}
    run = RunSpec.model_validate(tree | {"evaluation": {"rows": 16, "labelled": asked}})
    folder = tmp_path / "sweep" / "promoted" / "full"
    with ThreadPoolExecutor() as pool:
        lost = pool.submit(lose_labels, tmp_path / "data", folder / NAME)
        record = pretrain(run, "sweep/promoted/full", tmp_path)
    lost.result()
    [trial] = record.trials.values()
    assert (trial.status, record.is_complete) == ("completed", True)
    assert isinstance(events(folder / NAME)[-1], SweepClosed)
    answers = record.evaluations
    by_step = Counter(event.step for event in answers)
    assert len(by_step) > 1
    assert max(by_step) == STEPS
    assert set(by_step.values()) == {2}                 # zero-shot and probe of one task, of each that was begun
    assert len({event.key for event in answers}) == len(answers)
    [note] = (note for note in trial.notes if "not answered" in note)
    assert "rte probe, seed 0: " in note
    assert "40 of 40 rows have no label" in note
    assert not list(folder.glob("checkpoints/.*"))
    command = ["cogito-ray", "evaluate", str(folder), "--tasks", "sick-relatedness", "--data", asked["data"], "--json"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        main()
    found = json.loads(capsys.readouterr().out)
    assert (end.value.code, found["computed"], found["known"], found["faults"]) == (0, 0, 2, [])
