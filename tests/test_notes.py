"""What people conclude is kept: by command or in a file, beside a driver at work, in folders and object stores."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

import cogito_ray as cr
from cogito_ray.object_storage.storage_mirror import local
from cogito_ray.records.ledger import (
    COMPLETE,
    NAME,
    Ledger,
    Noted,
    Reported,
    SweepClosed,
    SweepOpened,
    TrialEnded,
    TrialStarted,
)
from cogito_ray.records.notebook.notebook_page import read
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.sweep_record import read as record_of
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.sweep_spec import SweepSpec

QUICKSTART = Path(__file__).parents[1] / "search_spaces" / "quickstart.yaml"


def finished(storage, name="finished"):
    """The settings of a sweep of one trial, which stands complete in the storage."""
    tree = yaml.safe_load(QUICKSTART.read_text()) | {"name": name, "budget": {"trials": 1}}
    sweep = SweepSpec.model_validate(tree)
    origin = Provenance(commit=None, dirty=False, versions={}, host="here")
    run = sweep.trial(sample := next(iter(sweep.search_space.corners())))
    told = {"trial": run.digest(), "number": 0, "sample": sample, "spec": run.model_dump(mode="json")}
    steps = run.training.steps
    with Ledger(storage / name / NAME) as ledger:
        ledger.append(SweepOpened(at=0, spec=sweep.model_dump(mode="json"), sweep=sweep.digest(), provenance=origin))
        ledger.append(TrialStarted(at=2, **told))
        metrics = dict.fromkeys(run.metrics, 1.0)
        ledger.append(Reported(trial=run.digest(), step=steps, seconds=3, metrics=metrics))
        ledger.append(TrialEnded(at=4, trial=run.digest(), status="completed", step=steps))
        ledger.append(SweepClosed(at=5, cause=COMPLETE))
    return tree


def written(storage, name="finished"):
    return [(comment.text, comment.trial) for comment in record_of(storage / name / NAME).comments]


def test_a_sweep_is_named_by_its_folder_or_name_and_a_trial_as_the_notebook_calls_it(tmp_path):
    finished(tmp_path)
    [row] = read([tmp_path])[0]
    for run in (tmp_path / "finished", "finished", row.cells["run"], row.trial):
        cr.note(run, f" of {run} ", storage=tmp_path)
    trial = row.trial
    assert [about for _, about in written(tmp_path)] == [None, None, trial, trial]
    assert written(tmp_path)[1][0] == "of finished"


def test_what_is_no_run_and_what_is_empty_is_refused(tmp_path):
    finished(tmp_path)
    finished(tmp_path, "another")
    twins = {row.cells["run"] for row in read([tmp_path])[0]}
    for run, why in (("nothing", "no folder or name of a sweep"), (twins.pop(), "2 rows of the notebook")):
        with pytest.raises(ValueError, match=why):
            cr.note(run, "text", storage=tmp_path)
    with pytest.raises(ValueError, match="note: is empty"):
        cr.note("finished", " \n", storage=tmp_path)
    assert written(tmp_path) == []


def test_notes_and_the_events_of_a_driver_at_work_lose_nothing_of_each_other(tmp_path):
    finished(tmp_path)
    [trial] = record_of(tmp_path / "finished" / NAME).trials

    def drive():
        with Ledger(tmp_path / "finished" / NAME) as ledger:
            for step in range(30):
                ledger.append(Noted(trial=trial, step=step, note="x" * 5000))

    with ThreadPoolExecutor(3) as pool:
        driver = pool.submit(drive)
        texts = [f"{number}\n" * 500 for number in range(10)]
        list(pool.map(lambda text: cr.note(tmp_path / "finished", text), texts))
        driver.result()
    assert sorted(text for text, _ in written(tmp_path)) == sorted(text.strip() for text in texts)
    assert len(record_of(tmp_path / "finished" / NAME).trials[trial].noted) == 30


def test_a_conclusion_in_the_file_is_kept_once_though_the_sweep_is_finished(tmp_path):
    tree = finished(tmp_path)
    for said in ("it works", "it works", "it does not"):
        cr.sweep(tree | {"conclusion": said}, storage=tmp_path, verbose=False)
    assert written(tmp_path) == [("it works", None), ("it does not", None)]
    assert "it does not" in (tmp_path / "notebook.md").read_text()


def test_question_and_conclusion_make_no_run_another_one():
    debug = yaml.safe_load((QUICKSTART.parents[1] / "jobs" / "debug.yaml").read_text())
    plain = RunSpec.model_validate(debug)
    told = RunSpec.model_validate(debug | {"question": "why?", "conclusion": "because"})
    assert told.digest() == plain.digest()
    assert "question" not in plain.model_dump()


def test_questions_of_a_sweep_stand_beside_its_run():
    tree = yaml.safe_load(QUICKSTART.read_text())
    with pytest.raises(ValueError, match=r"run\.question: belongs to a sweep as a whole; write it beside `run`"):
        SweepSpec.model_validate(tree | {"run": tree["run"] | {"question": "?"}})


def test_a_folder_and_an_object_store_make_one_notebook_and_keep_what_is_imported(tmp_path, s3, monkeypatch):
    monkeypatch.setenv("COGITO_STORAGE_CACHE", str(tmp_path / "one"))
    url = f"s3://bucket/{tmp_path.name}"
    finished(local(url), "far")
    finished(tmp_path / "runs", "near")
    table = tmp_path / "log.md"
    table.write_text("| Date | Run | Conclusion |\n|---|---|---|\n| 2031-01-02 | old | Fine. |\n")
    cr.note("far", "seen from here", storage=url)
    monkeypatch.setenv("COGITO_STORAGE_CACHE", str(tmp_path / "another"))
    cr.notebook(url, tmp_path / "runs", out=tmp_path, table=table)
    monkeypatch.setenv("COGITO_STORAGE_CACHE", str(tmp_path / "third"))
    cr.notebook(url, tmp_path / "runs", out=tmp_path, table=table)
    page = (tmp_path / "notebook.md").read_text()
    assert page.count("\n| ") == 2 + 3
    assert "seen from here" in page
    assert [one.path.name for one in cr.status(storage=url)] == ["far"]
