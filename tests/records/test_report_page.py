"""The report: one file that needs nothing else, says what happened, and trusts no text."""

import os
import re
from html.parser import HTMLParser

import pytest
import yaml

from cogito_ray.records.ledger import (
    NAME,
    Evaluated,
    GridPointExhausted,
    Ledger,
    Linked,
    Reported,
    SampleRejected,
    SweepClosed,
    SweepOpened,
    TaskScore,
    TrialEnded,
    TrialStarted,
)
from cogito_ray.records.pages.report_page import FILE, breakable, is_up_to_date, write
from cogito_ray.records.provenance import Provenance

NATS = "eval/reconstruction_nats"
RANK = "concepts/effective_rank"
TWO = [{"metric": NATS, "mode": "min"}, {"metric": RANK, "mode": "max"}]
NASTY = "</script><img src=x onerror=alert(1)> & 'quotes\""


class Page(HTMLParser):
    """Text by heading, and the elements that would load something."""

    def __init__(self, path):
        super().__init__()
        self.text, self.elements, self.loads, self._open = "", [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.elements.append(tag)
        self._open.append(tag)
        self.loads += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self._open):
            self.text += data

    @property
    def plain(self):
        return re.sub(r"\s+", " ", self.text)


@pytest.fixture
def sweep(tmp_path):
    """Writes a sweep's ledger of trials (status or None, last value, cause) and returns its page."""

    def written(*trials, unigram=7.3, question="Why?", closed=True, further=None, **changed):
        spec = {
            "name": "tiny", "question": question, "run": {}, "search": {"sampler": "tpe", "seed": 5},
            "goals": [{"metric": NATS, "mode": "min"}], "space": {"objective.rate": {"uniform": [0.0, 1.0]}},
            "early_stopping": {"kind": "asha", "first_rung": 10, "eta": 3},
        } | changed  # fmt: skip
        origin = Provenance(commit="c0ffee", dirty=True, versions={"torch": "2.13"}, host="here")
        with Ledger(tmp_path / NAME) as ledger:
            ledger.append(SweepOpened(at=0.0, spec=spec, sweep="s", provenance=origin))
            for number, (status, value, cause) in enumerate(trials):
                name, last = f"t{number}", 40 if status == "completed" else 20
                run = {"training": {"steps": 40}, "objective": {"rate": 0.125 + number / 8}, "seed": 3}
                sample = {"objective.rate": 0.125 + number / 8} | (further or {}).get(number, {})
                ledger.append(TrialStarted(at=1.0, trial=name, number=number, sample=sample, spec=run))
                for step in range(10, last + 1, 10):
                    metrics = {NATS: value + 1 / step - 1 / last, "eval/unigram_nats": unigram, RANK: 2 * value}
                    ledger.append(Reported(trial=name, step=step, seconds=step, metrics=metrics))
                if status:
                    ledger.append(TrialEnded(at=50.0, trial=name, status=status, step=last, cause=cause))
            if closed:
                ledger.append(SweepClosed(at=60.0, cause="complete"))
        return Page(write(tmp_path))

    return written


def test_a_report_says_what_cleaning_left_out_of_each_source_for_which_reason(tmp_path):
    origin = Provenance(commit="c0ffee", dirty=False, versions={}, host="here")
    counts = {"web": {"language": 1234, "near_duplicate": 5}, "wiki": {}}
    spec = {"name": "tiny", "run": {}, "goals": [{"metric": NATS, "mode": "min"}], "space": {}}
    with Ledger(tmp_path / NAME) as ledger:
        for _ in range(2):
            of_corpora = {"k1": counts, "k2": counts}
            ledger.append(SweepOpened(at=0.0, spec=spec, sweep="s", provenance=origin, left_out=of_corpora))
    said = Page(write(tmp_path)).plain
    assert said.count("left out of web1,234 for language, 5 for near duplicate left out of wikino document") == 1


def test_it_loads_nothing_and_holds_plotly_once(sweep, tmp_path):
    page = sweep(("completed", 5.0, ""), ("completed", 6.0, ""))
    assert page.loads == []
    assert "link" not in page.elements
    assert (tmp_path / "report.html").read_text().count("plotly.js v") == 1


def test_the_headline_names_the_winner_and_how_far_it_is_below_a_constant_prediction(sweep):
    page = sweep(("completed", 6.0, ""), ("completed", 5.0, ""))
    assert f"Trial 1 is best: {NATS} is 5.000, 2.30 below the best constant prediction." in page.plain


def test_a_winner_no_better_than_a_constant_prediction_is_an_alarm(sweep):
    assert "no better than the 7.30 nats of the best constant prediction: nothing was learned" in sweep(
        ("completed", 7.4, "")
    ).plain


def test_the_winners_settings_stand_there_as_yaml(sweep):
    text = sweep(("completed", 5.0, "")).text
    shown = text.split("The winner's settings")[1].split("The whole run")[0]
    assert yaml.safe_load(shown) == {"objective.rate": 0.125}


def test_a_trial_has_an_empty_cell_for_an_axis_that_did_not_vary_in_it(sweep):
    space = {
        "objective.rate": {"uniform": [0.0, 1.0]},
        "model.concepts": {"choice": [7777, 8888], "when": {"objective.rate": 0.25}},
    }
    page = sweep(("completed", 5.0, ""), ("completed", 6.0, ""), space=space, further={1: {"model.concepts": 7777}})
    ranking = page.plain.split("Ranking")[1].split("choice:")[0]  # below stands the file, which names it too
    assert ranking.count("7777") == 1


def test_what_was_stopped_and_what_failed_says_where_and_why(sweep):
    page = sweep(("completed", 5.0, ""), ("stopped", 6.0, "worse than others"), ("failed", 6.5, "norm 947"))
    assert "20 of 40 10 (of 10, 30)" in page.plain
    assert "worse than others" in page.plain
    assert "norm 947 objective.rate: 0.375" in page.plain
    assert "Early stopping spared 20 of 120 planned steps (17 %)" in page.plain


def test_it_says_by_what_it_was_made(sweep):
    page = sweep(("completed", 5.0, ""))
    assert "c0ffee, with changes that no commit holds" in page.plain
    assert "torch 2.13" in page.plain
    assert "sampler 5; runs 3" in page.plain


def test_text_from_a_sweep_is_never_markup(sweep, tmp_path):
    page = sweep(("failed", 6.0, NASTY), ("completed", 5.0, ""), question=NASTY)
    assert "img" not in page.elements
    assert page.text.count(NASTY) >= 2


def test_a_single_run_without_axes_has_a_page(tmp_path):
    spec = {"name": "one", "run": {}, "space": {}, "goals": [{"metric": NATS, "mode": "min"}]}
    origin = Provenance(commit=None, dirty=False, versions={}, host="here")
    with Ledger(tmp_path / NAME) as ledger:
        ledger.append(SweepOpened(at=0.0, spec=spec, sweep="s", provenance=origin))
        ledger.append(TrialStarted(at=0.0, trial="t", number=0, sample={}, spec={"training": {"steps": 10}}))
        ledger.append(Reported(trial="t", step=10, seconds=1.0, metrics={NATS: 5.0}))
        ledger.append(TrialEnded(at=1.0, trial="t", status="completed", step=10))
    page = Page(write(tmp_path))
    assert "Trial 0 is best" in page.plain
    assert "What mattered" not in page.plain


def test_several_goals_show_the_front_and_name_no_winner(sweep):
    page = sweep(("completed", 5.0, ""), ("completed", 6.0, ""), ("stopped", 7.0, "worse"), goals=TWO)
    ranges = f"{NATS} from 5.000 to 6.000; {RANK} from 10.00 to 12.00"
    assert f"2 of 3 trials are on the front (0, 1): {ranges}." in page.plain
    assert "The front Each point is a trial" in page.plain
    assert "winner's settings" not in page.plain
    shown = page.text.split("Settings on the front")[1].split("Ranking")[0]
    assert "objective.rate: 0.125" in shown
    assert "objective.rate: 0.25" in shown
    assert f"{RANK} while training" in page.plain


def test_trials_that_all_break_a_constraint_leave_no_winner(sweep):
    page = sweep(("completed", 5.0, ""), constraints={RANK: ">= 99"})
    assert "None of 1 completed trials is sound, so there is no winner." in page.plain


@pytest.mark.parametrize("closed", [True, False])
def test_an_empty_sweep_has_a_page(sweep, closed):
    page = sweep(closed=closed)
    assert "No trial has started." in page.plain
    assert ("still running, or its driver was killed" in page.plain) != closed


def test_a_sweep_of_unfinished_trials_has_a_page_without_a_winner(sweep):
    page = sweep((None, 6.0, ""), (None, 5.0, ""))
    assert "No trial ran to its end, so there is no winner." in page.plain
    assert "The winner's settings" not in page.text


def test_paths_break_after_dots_and_slashes():
    assert breakable("a.b/c<") == "a.<wbr>b/<wbr>c&lt;"


def test_labelled_scores_stand_there_with_their_intervals(sweep, tmp_path):
    assert "Labelled tasks" not in sweep(("completed", 5.0, "")).plain
    score = TaskScore(vectors="mean", baseline=False, metric="spearman", value=0.61, low=0.58, high=0.64)
    asked = Evaluated(
        at=70.0, trial="t0", step=40, key="k", checkpoint="c", code="v", task="stsb", protocol="zero-shot",
        settings={}, seed=0, examples=1500, seconds=1.0, scores=(score,),
    )  # fmt: skip
    with Ledger(tmp_path / NAME) as ledger:
        ledger.append(asked)
    table = Page(write(tmp_path)).plain.split("Labelled tasks")[1]
    assert "0 40 stsb zero-shot mean spearman 0.610 0.580 to 0.640 1 1500".replace(" ", "") in table.replace(" ", "")


def test_a_trial_links_to_the_trackers_that_were_told_of_it(sweep, tmp_path):
    sweep(("completed", 5.0, ""))
    with Ledger(tmp_path / NAME) as ledger:
        for where, url in (("wandb", "https://w/b?x=1&y"), ("tensorboard", "/f")):
            ledger.append(Linked(at=61.0, where=where, url=url, trial="t0"))
    page = write(tmp_path).read_text()
    assert '<a href="https://w/b?x=1&amp;y">wandb</a>' in page
    assert '<span title="/f">tensorboard</span>' in page


def test_points_that_were_not_tried_stand_there_with_how_many_there_were_and_why(sweep, tmp_path):
    sweep(("completed", 5.0, ""))
    with Ledger(tmp_path / NAME) as ledger:
        for width in (68, 68):
            ledger.append(SampleRejected(at=1.0, sample={"model.width": width}, cause=f"{NASTY} width {width}"))
        point, cause = {"model.concepts": 8.0}, "the same run as trial 0"
        ledger.append(GridPointExhausted(at=1.0, point=point, cause=cause, whole=True))
    page = Page(write(tmp_path))
    assert f"2{NASTY} width 68" in page.plain
    assert "1the same run as trial 0" in page.plain


def test_a_page_is_up_to_date_until_more_is_recorded_or_it_is_lost(sweep, tmp_path):
    sweep(("completed", 1.0, ""))
    page, now = tmp_path / FILE, (tmp_path / NAME).stat().st_mtime_ns
    found = []
    for later_ns in (1, 0, -1):
        os.utime(page, ns=(now + later_ns, now + later_ns))
        found.append(is_up_to_date(tmp_path))
    page.unlink()
    assert [*found, is_up_to_date(tmp_path)] == [True, False, False, False]
