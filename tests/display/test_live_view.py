"""What a terminal shows of sweeps and runs, drawn at a fixed width from records."""

import re
import time
from io import StringIO

import pytest
from corpora import unread_run
from rich.console import Console

from cogito_ray.display import live_view, result_tables
from cogito_ray.display.live_view import Stage, drawn, watching
from cogito_ray.records.ledger import NAME, Ledger, Reported, SweepClosed, SweepOpened, TrialEnded, TrialStarted
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.sweep_record import Record, SharedRecord, fold
from cogito_ray.run_spec import RunSpec
from cogito_ray.sweeps.sweep_spec import SweepSpec
from cogito_ray.testing.search_driver import Driven
from cogito_ray.text.preparation_plan import Progress

NATS = "eval/reconstruction_nats"
WEIGHT = "loss.weighting.weights.contrast"
MEASURED = {
    "loss/total": 6.25, "loss/reconstruction": 6.0, "loss/reconstruction_gradient_share": 1.0, NATS: 6.125,
    "eval/unigram_nats": 7.5, "optimizer/gradient_norm": 1.5, "optimizer/learning_rate": 3e-4,
    "time/tokens_per_s": 12345.6, "time/mfu": 0.25, "time/data_wait_share": 0.125,
    "concepts/effective_rank": 3.0, "concepts/nuclear_rank": 2.0,
}  # fmt: skip


def shown(renderable, width=150):
    console = Console(file=StringIO(), width=width, force_terminal=False)
    console.print(renderable)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def swept():
    """A search of six trials over a contrast and its weight: two are over, one runs."""
    run = unread_run(steps=100, report_every=10) | {"loss": {"weighting": {"kind": "fixed"}}}
    space = {
        "loss.contrast": {"preset": {"dropout": {"kind": "dropout"}, "corruptions": {"kind": "corruptions"}}},
        WEIGHT: {"uniform": [0.1, 1.0]},
        "objective.rate": {"uniform": [0.2, 0.6]},
    }
    goals, budget = [{"metric": NATS, "mode": "min"}], {"trials": 6, "wall": "2h"}
    tree = {"name": "s", "run": run, "space": space, "goals": goals, "budget": budget}
    search = Driven(SweepSpec.model_validate(tree))
    for number in range(3):
        search.suggest(str(number))
        search.report(str(number), 100 if number < 2 else 10, MEASURED | {NATS: 5.0 + number})
        if number < 2:
            search.end(str(number), {"step": 100, "metrics": ()})
    return fold(search.log)


def test_a_sweeps_view_tells_time_trials_budget_and_the_best_beside_the_constant_prediction(swept):
    text = shown(result_tables.live(swept, swept.spans[-1][1] + 60))
    assert "left" in text.splitlines()[0]
    assert "1 running, 0 waiting, 3 queued, 2 over" in text
    assert "budget: 3 of 6 trials, wall " in text
    assert "of 2 h (" in text
    assert f"{NATS} 5 (the best constant prediction: 7.500)" in text


def test_columns_of_settings_whose_names_end_alike_are_told_apart(swept):
    head = next(line for line in shown(result_tables.live(swept), 250).splitlines() if line.startswith("#"))
    assert {"loss.contrast", "weights.contrast", "rate"} <= set(head.split())


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["a.rate", "b.depth"], ["rate", "depth"]),
        (["a.b.rate", "c.b.rate", "rate"], ["a.b.rate", "c.b.rate", "rate"]),
        (["eval/nats", "model.step"], ["nats", "model.step"]),
    ],
)
def test_names_are_as_short_as_tells_them_apart(names, short):
    assert result_tables.short_names(names, taken=["step"]) == short


def test_in_a_narrow_terminal_goals_and_settings_stay_whole(swept):
    wide, narrow = (shown(result_tables.live(swept), width) for width in (250, 110))
    assert "tokens per s" in wide
    assert "tokens per s" not in narrow
    assert "reconstruction nats" in narrow
    assert "…" not in narrow


def test_of_many_trials_those_that_run_are_shown_and_the_first_others(swept):
    text = shown(result_tables.live(swept, most=2))
    assert "running" in text.splitlines()[-2]
    assert text.splitlines()[-1].strip() == "and 1 others"


def run_record(folder, *, step=40, over=False):
    spec = RunSpec.model_validate(unread_run(steps=400, report_every=20)).model_dump(mode="json")
    origin = Provenance(commit=None, dirty=False, versions={}, host="here")
    goals = [{"metric": NATS, "mode": "min"}]
    tree = {"name": "r", "run": spec, "space": {}, "goals": goals}
    opened = SweepOpened(at=0.0, spec=tree, sweep="s", provenance=origin)
    events = [opened, TrialStarted(at=0.0, trial="abc", number=0, sample={}, spec=spec)]
    for at in (20, step):
        notes = ("resumed at step 20",) if at == 40 else ()
        events.append(Reported(trial="abc", step=at, seconds=at / 2, metrics=MEASURED, notes=notes))
    if over:
        events.append(TrialEnded(at=200.0, trial="abc", status="completed", step=400))
        events.append(SweepClosed(at=200.0, cause="complete"))
    (folder / "checkpoints" / "step-00000020").mkdir(parents=True)
    return fold(events, str(folder / NAME))


def test_a_runs_view_is_of_the_run_and_not_of_trials(tmp_path):
    text = shown(result_tables.live(run_record(tmp_path), 20.0))
    for said in (
        "step 40 of 400", "20 s elapsed, about 3 min left", "total 6.250, reconstruction 6.000", f"{NATS} 6.125",
        "(the best constant prediction: 7.500)", "gradient norm 1.500, learning rate 0.0003", "12,346 tokens/s",
        "MFU 25.0%", "waiting for data 12.5%", "step 20, ", "explosion, divergence", "step 40: resumed at step 20",
    ):  # fmt: skip
        assert said in text
    assert "trial" not in text
    assert "gradient_share" not in text


def test_what_a_run_came_to_names_no_winner(tmp_path):
    text = shown(result_tables.final(run_record(tmp_path, step=400, over=True)))
    assert text.startswith("completed, step 400 of 400")
    assert "inner" not in text


def test_tokenising_is_a_bar_of_its_tasks():
    stage = Stage()
    assert shown(drawn(Record(), stage, most=9)).strip() == "starting ..."
    stage.tell(Progress("docs: tokenising", 3, 4, 12345))
    text, bar = shown(drawn(Record(), stage, most=9)).splitlines()
    assert text == "docs: tokenising (3 of 4, 12,345 tokens)"
    assert bar.count("━") == live_view.BAR * 3 // 4


@pytest.fixture
def lines(capsys):
    """All lines printed so far, without their times, once one of them begins so."""
    said = []

    def until(beginning=""):
        deadline = time.monotonic() + 20
        while True:
            said.extend(capsys.readouterr().out.splitlines())
            assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in said)
            told = [line[20:] for line in said]
            if any(line.startswith(beginning) for line in told):
                return told
            assert time.monotonic() < deadline, told
            time.sleep(0.01)

    return until


def test_in_a_pipe_a_run_tells_its_last_report_and_not_every_one(tmp_path, lines, monkeypatch):
    monkeypatch.setattr(live_view, "REDRAWN_EVERY_S", 0.02)
    with watching(SharedRecord(tmp_path / NAME), quiet=False), Ledger(tmp_path / NAME) as ledger:
        for event in run_record(tmp_path).events[:3]:
            ledger.append(event)
        lines("step 20 ")
        for step in range(21, 40):
            ledger.append(Reported(trial="abc", step=step, seconds=step, metrics=MEASURED))
    said = [line for line in lines() if line.startswith("step ")]
    assert [line.split(" of ")[0] for line in said] == ["step 20", "step 39"]


def test_in_a_pipe_a_sweep_tells_who_ended_and_now_and_then_how_far_it_is(tmp_path, lines, swept):
    with Ledger(tmp_path / NAME) as ledger:
        ledger.append(swept.events[0])
        with watching(SharedRecord(tmp_path / NAME), quiet=False):
            for event in swept.events[1:]:
                ledger.append(event)
    said = lines("trial ")
    ends = [line for line in said if line.startswith("trial ")]
    assert [line.split(": ")[0].split(" ", 2)[2] for line in ends] == ["completed at step 100 of 100"] * 2
    assert "1 running, 0 waiting, 3 queued, 2 over; budget" in said[-1]


def test_preparing_in_a_pipe_tells_each_stage_and_not_every_task(lines, monkeypatch):
    monkeypatch.setattr(live_view, "REDRAWN_EVERY_S", 0.01)
    with watching(None, quiet=False) as stage:
        for name in ("docs", "news"):
            for done in range(20):
                stage.tell(Progress(f"{name}: tokenising", done, 20))
                lines(f"{name}: ")
    assert [line.split(":")[0] for line in lines() if "tokenising" in line] == ["docs", "news"]


def test_what_takes_long_to_draw_is_drawn_seldom(monkeypatch):
    monkeypatch.setattr(live_view, "REDRAWN_EVERY_S", 0.001)
    drawings = []

    def draw(last):
        drawings.append(last)
        until = time.thread_time() + 0.01
        while time.thread_time() < until:
            pass

    with live_view._beside(draw):
        time.sleep(0.5)
    assert len(drawings) <= 4    # one in 0.2 s, and the last
