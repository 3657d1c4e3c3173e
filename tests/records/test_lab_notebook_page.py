"""The notebook: every entry once, newest first, and only what compares is set side by side."""

import json
from html.parser import HTMLParser

import pytest
from corpora import tiny_run
from markdown_it import MarkdownIt

from cogito_ray.records.ledger import (
    COMPLETE,
    NAME,
    Ledger,
    Linked,
    Reported,
    SweepClosed,
    SweepOpened,
    TrialEnded,
    TrialStarted,
)
from cogito_ray.records.pages.lab_notebook_page import escaped, write
from cogito_ray.records.provenance import Provenance
from cogito_ray.run_spec import RunSpec
from cogito_ray.text.data_digests import DataDigests

NATS = "eval/reconstruction_nats"


@pytest.fixture
def storage(tmp_path):
    """Writes ledgers of one completed trial each into one storage, whose folder it returns."""
    tree = tiny_run(tmp_path)

    def written(rows=None, **changes):
        for at, (name, changed) in enumerate(changes.items()):
            run, read = RunSpec.model_validate(tree | changed), DataDigests("t", {"first": (rows or {}).get(name, "r")})
            spec = {"name": name, "question": f"{name}?", "goals": [{"metric": NATS, "mode": "min"}], "space": {}}
            origin = Provenance(commit="abc", dirty=False, versions={}, host="h")
            with Ledger(tmp_path / "runs" / name / NAME) as ledger:
                ledger.append(SweepOpened(at=at, spec=spec, sweep=name, provenance=origin))
                asked = {"trial": "t", "number": 0, "sample": {}, "spec": run.model_dump(mode="json")}
                ledger.append(TrialStarted(at=at, data=read, **asked))
                ledger.append(Reported(trial="t", step=10, seconds=1, metrics={NATS: 5.0 + at}))
                ledger.append(TrialEnded(at=at, trial="t", status="completed", step=10))
                ledger.append(SweepClosed(at=at, cause=COMPLETE))
        return tmp_path / "runs"

    return written


def entries(page):
    return {part.split("\n")[0]: part for part in page.read_text().split("\n## ")[1:]}


class Shown(HTMLParser):
    """What a reader of the page sees."""

    def __init__(self, page):
        super().__init__()
        self.text, self.tags, self.links = "", set(), []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.links += [value for name, value in attributes if name in ("href", "src")]

    def handle_data(self, text):
        self.text += text


def markdown(page):
    return Shown(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(page))


def test_entries_stand_newest_first_with_their_question_and_outcome(storage):
    told = entries(write(storage(one={}, two={})))
    assert list(told) == ["two", "one"]
    assert "one?" in told["one"]
    assert f"{NATS} is 5.000" in told["one"]


def test_the_best_trial_links_to_the_trackers_that_were_told_of_it(storage):
    runs = storage(a={})
    with Ledger(runs / "a" / NAME) as ledger:
        ledger.append(Linked(at=9, where="wandb", url="https://w/b", trial="t"))
        ledger.append(Linked(at=9, where="tensorboard", url="/a folder", trial="t"))
    assert "tracked: [wandb](https://w/b), `/a folder`" in entries(write(runs))["a"]


def test_only_entries_measured_alike_may_be_compared(storage):
    told = entries(write(storage(one={}, two={"seed": 3}, other={"evaluation": {"rows": 7}})))
    assert "may be compared with [two](#two)\n" in told["one"]
    assert "may be compared with [one](#one)\n" in told["two"]
    assert "may be compared with no other" in told["other"]


def test_entries_of_equal_settings_that_read_other_rows_are_not_compared(storage):
    told = entries(write(storage(rows={"other": "s"}, one={}, two={}, other={})))
    assert "may be compared with [two](#two)\n" in told["one"]
    assert "may be compared with no other" in told["other"]


def test_a_damaged_ledger_is_named_and_the_others_are_told(storage):
    runs = storage(one={}, two={})
    (runs / "two" / NAME).write_text("no ledger\n{}\n")
    told = entries(write(runs))
    assert "Cannot be read" in told["two"]
    assert "5.000" in told["one"]


def test_what_was_spent_is_said_in_tokens(storage):
    training = {"training": {"batch": 6, "steps": 10}}
    told = entries(write(storage(one=training)))
    assert "trial 0 read 960 tokens" in told["one"]  # 10 steps of 6 rows of 16


def without_its_opening(ledger):
    ledger.write_text("".join(ledger.read_text().splitlines(keepends=True)[1:]))


def of_another_version(ledger):
    ledger.write_text(ledger.read_text().replace('"mode":"min"', '"aim":"low"'))


def with_an_unknown_event(ledger):
    ledger.write_text('{"event":"dreamt"}\n' + ledger.read_text())


def a_folder(ledger):
    ledger.unlink()
    ledger.mkdir()


def a_dead_link(ledger):
    ledger.unlink()
    ledger.symlink_to("nowhere")


@pytest.mark.parametrize("damage", [without_its_opening, of_another_version, with_an_unknown_event, a_folder])
def test_a_neighbour_that_cannot_be_read_is_an_entry_that_says_so_and_the_others_stand(storage, damage):
    damage(storage(sound={}, neighbour={}) / "neighbour" / NAME)
    told = entries(write(storage(sound={})))
    assert told["neighbour"].startswith("neighbour\n\nCannot be read: ")
    assert f"{NATS} is 5.000" in told["sound"]


def test_a_dead_link_is_no_entry_and_ends_nothing(storage):
    a_dead_link(storage(sound={}, neighbour={}) / "neighbour" / NAME)
    assert "sound" in entries(write(storage(sound={})))


HOSTILE = "x\n\n## forged\n\n- may be compared with [all](#all) <script>alert(1)</script> | `a` *b* _c_ ![i](http://h)"


def test_a_question_forges_no_entry_and_shows_as_it_was_written(storage):
    page = write(storage(one={}, two={}, **{"three": {}}))
    assert "<script>" not in page.read_text()
    folder = page.parent
    text = (folder / "one" / NAME).read_text()
    (folder / "one" / NAME).write_text(text.replace('"question":"one?"', f'"question":{json.dumps(HOSTILE)}'))
    page = write(folder)
    assert list(entries(page)) == ["three", "two", "one"]
    shown = markdown(page.read_text())
    assert " ".join(HOSTILE.split()) in shown.text
    assert shown.tags <= {"h1", "h2", "p", "ul", "li", "strong", "code", "a"}
    assert all(link.startswith("#") or link.endswith("/report.html") for link in shown.links)


MARKS = ["# a", "- a", "1. a", "12) a", "> a", "---", "===", "+ a", "a | b", "a_b_ *c*", "~~a~~", "&lt;", "\\*", "```"]


@pytest.mark.parametrize("text", [*MARKS, "<b>"])
def test_what_markdown_would_read_as_its_own_shows_as_it_was_written(text):
    shown = markdown(f"one\n\n{escaped(text)}")
    assert shown.text.split() == ["one", *text.split()]
    assert shown.tags == {"p"}
