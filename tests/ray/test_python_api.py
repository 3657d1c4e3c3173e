"""A sweep in Python, in one process: run, read, evaluated, exported; and what interrupts and resumes it."""

import os
import shutil
import signal
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from corpora import prepared_run
from pyarrow import parquet
from transformers import AutoModel

import cogito_ray as cr
from cogito_ray.records.ledger import NAME

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(300)]
NATS = "eval/reconstruction_nats"


def settings(folder):
    run = prepared_run(folder)
    return {
        "name": "tiny",
        "run": run,
        "space": {"objective.rate": {"choice": [0.4, 0.6]}},
        "search": {"sampler": "grid"},
        "goals": [{"metric": NATS, "mode": "min"}],
        "budget": {"trials": 2},
        "concurrency": 2,
    }


@pytest.fixture(scope="module")
def swept(tmp_path_factory, ray_cluster):
    """A sweep that ran to its end: (its settings, the storage, its result)."""
    storage = tmp_path_factory.mktemp("storage")
    return (tree := settings(storage)), storage, cr.sweep(tree, storage=storage, verbose=False)


def labelled(folder: Path) -> Path:
    """Data of one task."""
    draw = np.random.default_rng(0)
    one, two = ([" ".join(draw.choice(["con", "cept", "token"], size=4)) for _ in range(40)] for _ in range(2))
    columns = {"sentence_A": one, "sentence_B": two, "relatedness_score": draw.random(40), "label": [0, 1, 2, 1] * 10}
    (folder / "sick").mkdir(parents=True)
    for split in ("train", "test"):
        parquet.write_table(pa.table(columns), folder / "sick" / f"{split}.parquet")
    return folder


def test_a_sweep_gives_its_result_with_the_winners_checkpoint(swept):
    _, storage, result = swept
    assert result.is_complete
    assert [trial.state for trial in result.trials] == ["completed", "completed"]
    assert result.checkpoint == result.best.path / "checkpoints" / "step-00000006"
    assert {"report.html", "winner.yaml", NAME} <= {file.name for file in (storage / "tiny").iterdir()}


def test_the_same_call_again_does_nothing_and_gives_the_same(swept, capsys):
    tree, storage, result = swept
    again = cr.sweep(tree, storage=storage)
    assert again.to_dataframe().equals(result.to_dataframe())
    assert f"{storage / 'tiny'} is complete: nothing was left to do." in capsys.readouterr().out


def test_a_larger_budget_goes_on_and_a_changed_sweep_is_refused(swept, tmp_path):
    tree, storage, _ = swept
    shutil.copytree(storage, tmp_path, dirs_exist_ok=True)
    with pytest.raises(ValueError, match=r"was started with other settings:\n  question: '' -> why"):
        cr.sweep(tree, storage=tmp_path, overrides={"question": "why"})
    more = cr.sweep(tree, storage=tmp_path, overrides={"seeds": 2}, verbose=False)
    assert {run.status for run in more.record.replicates.values()} == {"completed"}


def test_the_winner_is_evaluated_in_tasks_and_exported(swept, tmp_path):
    _, _, result = swept
    scores = cr.evaluate(
        result, {"tasks": ["sick-entailment"], "protocols": "probe", "data": labelled(tmp_path / "data")}, verbose=False
    )
    assert (scores.computed, scores.known, scores.faults) == (1, 0, ())
    table = scores.to_dataframe()
    assert set(table["trial"]) == {result.best.name}
    assert {"majority", "mean"} <= set(table["vectors"])
    cr.export(result, tmp_path / "encoder", verbose=False)
    assert AutoModel.from_pretrained(tmp_path / "encoder").config.model_type == "cogito_concepts"
    assert [one.run for one in cr.analyse(result, out=tmp_path, verbose=False).analyses] == [result.best.name]


def test_a_winners_settings_train_again_under_a_name_of_their_own(swept):
    _, storage, result = swept
    again = cr.train(result.best.run_spec, storage=storage, verbose=False)
    assert again.path == storage / result.best.name
    assert again.metrics[NATS] == result.best.metrics[NATS]
    assert again.history["step"].tolist() == [2, 4, 6]


@contextmanager
def interrupting(ledger):
    """Ctrl-C, as soon as a trial has reported."""

    def interrupt():
        while not (ledger.exists() and b'"reported"' in ledger.read_bytes()):
            if over.wait(0.02):
                return
        os.kill(os.getpid(), signal.SIGINT)

    over = threading.Event()
    (watcher := threading.Thread(target=interrupt)).start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def test_what_is_interrupted_raises_and_the_same_call_goes_on_from_there(tmp_path):
    tree = settings(tmp_path)
    tree["run"]["training"] |= {"steps": 400, "report_every": 20, "checkpoint_every": 20}
    tree["concurrency"] = 1
    with pytest.raises(cr.Interrupted, match="the same call goes on") as ended, interrupting(tmp_path / "tiny" / NAME):
        cr.sweep(tree, storage=tmp_path, verbose=False)
    assert isinstance(ended.value, KeyboardInterrupt)
    assert ended.value.result.state.startswith("interrupted with 1 trials under way")
    (first,) = ended.value.result.trials
    result = cr.sweep(tree, storage=tmp_path, verbose=False)
    assert result.is_complete
    assert len(result.trials) == 2
    assert result.record.trials[first.name].reports.keys() >= {report.step for report in first.reports}
