"""The notebook: a row a run, newest first, in which only what compares is said to, and what people wrote is kept."""

import json
import re
from html.parser import HTMLParser

import pytest
from corpora import tiny_run
from markdown_it import MarkdownIt
from pretrained_folders import write_bert
from pyarrow import parquet

from cogito_ray.evaluation.pretrained_checkpoint import PretrainedCheckpoint
from cogito_ray.records.ledger import (
    COMPLETE,
    NAME,
    PROMOTED,
    Commented,
    Evaluated,
    ForecastScored,
    ForecastSealed,
    Ledger,
    Linked,
    Promoted,
    Reported,
    SweepClosed,
    SweepOpened,
    TaskScore,
    TrialEnded,
    TrialStarted,
)
from cogito_ray.records.notebook.notebook_page import escaped, read, write
from cogito_ray.records.notebook.notebook_rows import NAMED, name_of
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.sweep_record import Trial
from cogito_ray.run_spec import RunSpec
from cogito_ray.text.data_digests import DataDigests

NATS = "eval/reconstruction_nats"
AXES = {"seed": {"choice": [0, 1]}}
MEASURED = {
    "concepts/effective_rank": 3.0, "concepts/nuclear_rank": 2.0, "time/tokens_per_s": 1234.0, "time/mfu": 0.25,
    "model/parameters": 4321.0,
}  # fmt: skip


def asked(trial, at=0.0, step=10, value=0.6):
    values = {"spearman": value, "pearson": value + 0.1}
    answers = [
        TaskScore(vectors=vectors, baseline=is_baseline, metric=metric, value=value * better, low=0.5, high=0.7)
        for vectors, is_baseline, better in (("token_means", True, 1.5), ("max", False, 0.5), ("mean", False, 1))
        for metric, value in values.items()
    ]
    told = {"key": f"{at}{step}", "checkpoint": "c", "code": "x", "settings": {}, "seed": 0, "examples": 9}
    told |= {"task": "stsb", "protocol": "zero-shot", "scores": answers, "seconds": 1}
    return Evaluated(at=at, trial=trial, step=step, **told)


@pytest.fixture
def storage(tmp_path):
    """Writes ledgers of one completed trial each into one storage, whose folder it returns."""
    tree = tiny_run(tmp_path)

    def written(rows=None, more=None, space=None, folder="runs", **changes):
        for at, (name, changed) in enumerate(changes.items()):
            run, data = RunSpec.model_validate(tree | changed), DataDigests("t", {"first": (rows or {}).get(name, "r")})
            goals = [{"metric": NATS, "mode": "min"}]
            spec = {"name": name, "question": f"{name}?", "goals": goals, "space": space or {}}
            origin = Provenance(commit="abc", dirty=False, versions={}, host="h", describe="v1-2-gabc", gpus=("A5000",))
            with Ledger(tmp_path / folder / name / NAME) as ledger:
                opened = SweepOpened(at=at, spec=spec, sweep=name, provenance=origin, rows={data.digest(): 30})
                ledger.append(opened)
                given = {"trial": "t", "number": 0, "sample": {}, "spec": run.model_dump(mode="json")}
                ledger.append(TrialStarted(at=at, data=data, **given))
                ledger.append(Reported(trial="t", step=10, seconds=1, metrics={NATS: 5.0 + at, **MEASURED}))
                ledger.append(TrialEnded(at=at, trial="t", status="completed", step=10))
                for event in more or ():
                    ledger.append(event)
                ledger.append(SweepClosed(at=at, cause=COMPLETE))
        return tmp_path / folder

    return written


def cells(*storages):
    """Of every row by the sentence that it asks, as the fixture makes them."""
    return {row.cells["question"]: row.cells for row in read(storages)[0]}


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


def markdown(text):
    return Shown(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))


def test_a_row_has_what_a_log_asks_for(storage):
    training = {"training": {"batch": 6, "steps": 10}, "objective": {"kind": "mlm", "rate": 0.3}}
    told = cells(storage(one=training, more=[asked("t"), asked("t", step=5, value=0.9)]))
    row = told["one?"]
    assert row["date"] == "1970-01-01"
    assert re.fullmatch(r"position_mlm_H\d+L\d+C\d+_19700101_000000", row["run"])
    assert row["data"] == "first, second\n960 tokens"                           # 10 steps of 6 rows of 16
    assert (row["epochs"], row["parameters"], row["machine"]) == ("2", "4,321", "h, A5000")
    assert (row["effective_rank"], row["nuclear_rank"]) == ("3 / 4", "2 / 4")
    assert (row["objective"], row["losses"]) == ("mlm, rate 0.3", "none")
    assert (row["task_loss"], row["speed"], row["code"]) == (f"{NATS} 5.000", "1,234 tokens/s\nMFU 25.0%", "v1-2-gabc")
    assert row["scores"] == "stsb zero-shot spearman 0.600 (0.500 to 0.700), mean"


def test_losses_beside_reconstruction_are_named_with_their_weights(storage):
    weighting = {"weighting": {"kind": "fixed", "weights": {"bag_of_words": 3.0}}}
    [row] = cells(storage(one={"loss": {"bag_of_words": {}} | weighting})).values()
    assert row["losses"] == "bag of words\nfixed, weights {bag_of_words: 3.0}"


def test_rows_stand_newest_first_and_a_sweep_says_what_came_out(storage):
    runs = storage(one={}, two={}, space=AXES)
    assert list(cells(runs)) == ["two?", "one?"]
    assert f"{NATS} is 5.000" in cells(runs)["one?"]["conclusion"]


def test_names_are_made_by_a_template_and_one_that_asks_for_what_is_not_there_is_refused():
    spec = {"model": {"width": 512, "concepts": 128, "encoder": {"depth": 6}, "decoder": {"kind": "perceiver"}}}
    trial = Trial("t", 3, {}, {**spec, "objective": {"kind": "mlm"}}, 1770585393.0)
    assert name_of(trial, "x", NAMED) == "perceiver_mlm_H512L6C128_20260208_211633"
    assert name_of(trial, "x", "{folder}-{number}") == "x-3"
    for template in ("{wide}", "{model", "{model.x}", "{}"):
        with pytest.raises(ValueError, match="is no template of names"):
            name_of(trial, "x", template)


def test_a_row_links_to_the_trackers_that_were_told_of_it(storage):
    urls = {"wandb": "https://w/b(1)|2", "board": "/a b"}
    links = [Linked(at=9, where=where, url=url, trial="t") for where, url in urls.items()]
    page, *_ = write([runs := storage(a={}, more=links)], runs)
    assert cells(runs)["a?"]["link"] == "wandb: https://w/b(1)|2\nboard: /a b"
    assert "https://w/b%281%29%7C2" in markdown(page.read_text()).links


def test_only_rows_measured_alike_may_be_compared(storage):
    told = cells(storage(one={}, two={"seed": 3}, other={"evaluation": {"rows": 7}}))
    assert told["one?"]["alike"] == told["two?"]["alike"] == "1"
    assert "alike" not in told["other?"]


def test_rows_of_equal_settings_that_read_other_text_are_not_compared(storage):
    told = cells(storage(rows={"other": "s"}, one={}, two={}, other={}))
    assert told["one?"]["alike"] == told["two?"]["alike"] == "1"
    assert "alike" not in told["other?"]


def test_several_storages_make_one_table_in_which_runs_of_both_compare(storage):
    told = cells(storage(one={}), storage(folder="elsewhere", two={}))
    assert told["one?"]["alike"] == told["two?"]["alike"] == "1"


def test_a_full_run_has_a_row_with_the_forecast_that_was_sealed_for_it(storage):
    sealed = ForecastSealed(at=0, trial="t", run="f", goal=NATS, parameters=1, tokens=1, value=4.0, low=3.0, high=5.0,
                            law="", ladder=(), code="", data="").sealed()  # fmt: skip
    score = ForecastScored(at=0, run="f", goal=NATS, seal=sealed.seal, value=4.1, error=-0.02, inside=True)
    ended = Promoted(at=0, trial="t", run="f", folder="", changes=(), complete=True, metrics={})
    runs = storage(sweep={}, space=AXES, more=[sealed, score, ended])
    full = storage(full={}) / "full"
    (full / NAME).write_text((full / NAME).read_text().replace('"trial":"t"', '"trial":"f"'))
    (runs / "sweep" / PROMOTED).mkdir()
    full.rename(runs / "sweep" / PROMOTED / "f")
    told = cells(runs)
    assert told["full?"]["state"] == "full run\ncompleted"
    assert told["full?"]["forecast"] == told["sweep?"]["forecast"]
    assert "4.000 (3.000 to 5.000); reached 4.100: -2.0%, inside" in told["full?"]["forecast"]


def test_a_model_that_was_only_evaluated_has_a_row(tmp_path):
    checkpoint = PretrainedCheckpoint.at(write_bert(tmp_path / "bert"), tmp_path)
    with Ledger(checkpoint.ledger) as ledger:
        ledger.append(asked(checkpoint.trial, at=86400.0))
    [row] = read([tmp_path])[0]
    assert (row.cells["run"], row.cells["date"], row.cells["state"]) == (checkpoint.trial, "1970-01-02", "evaluated")
    assert checkpoint.trial.startswith("bert@")
    assert "stsb zero-shot spearman 0.600" in row.cells["scores"]


def test_what_people_wrote_stands_with_the_run_or_trial_that_they_meant(storage):
    said = [Commented(at=0, by="ada", text="of all"), Commented(at=0, by="bob", text="of it", trial="t")]
    told = cells(storage(one={}, more=said))["one?"]["conclusion"].split("\n")
    assert told[-2:] == ["of all (ada, 1970-01-01)", "of it (bob, 1970-01-01)"]


def test_parquet_holds_the_text_and_the_numbers(storage):
    *_, data = write([runs := storage(one={})], runs)
    [row] = parquet.read_table(data).to_pylist()
    assert row["question"] == "one?"
    assert (row["task_loss_number"], row["nuclear_rank_number"], row["epochs_number"]) == (5.0, 2.0, 10 * 8 / 30)


def without_its_opening(ledger):
    ledger.write_text("".join(ledger.read_text().splitlines(keepends=True)[1:]))


def of_another_version(ledger):
    ledger.write_text(ledger.read_text().replace('"mode":"min"', '"aim":"low"'))


def with_an_unknown_event(ledger):
    ledger.write_text('{"event":"dreamt"}\n' + ledger.read_text())


def no_ledger(ledger):
    ledger.write_text("no ledger\n{}\n")


def a_folder(ledger):
    ledger.unlink()
    ledger.mkdir()


def a_dead_link(ledger):
    ledger.unlink()
    ledger.symlink_to("nowhere")


DAMAGES = [without_its_opening, of_another_version, with_an_unknown_event, no_ledger, a_folder]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_neighbour_that_cannot_be_read_is_a_row_that_says_so_and_the_others_stand(storage, damage):
    damage(storage(sound={}, neighbour={}) / "neighbour" / NAME)
    rows = read([storage(sound={})])[0]
    assert {row.cells.get("question"): row.cells.get("task_loss") for row in rows}["sound?"] == f"{NATS} 5.000"
    said = [row.cells["conclusion"] for row in rows if row.cells["run"] == "neighbour"]
    assert [one.partition(":")[0] for one in said] == ["cannot be read"]


def test_a_dead_link_is_no_row_and_ends_nothing(storage):
    a_dead_link(storage(sound={}, neighbour={}) / "neighbour" / NAME)
    assert list(cells(storage(sound={}))) == ["sound?"]


HOSTILE = "x\n\n## forged\n\n| a | b | <script>alert(1)</script> `a` *b* _c_ ![i](http://h)"


def test_a_question_forges_no_row_and_shows_as_it_was_written(storage):
    folder = storage(one={}, two={})
    text = (folder / "one" / NAME).read_text()
    (folder / "one" / NAME).write_text(text.replace('"question":"one?"', f'"question":{json.dumps(HOSTILE)}'))
    for page in write([folder], folder)[:2]:
        shown = markdown(page.read_text()) if page.suffix == ".md" else Shown(page.read_text())
        assert page.read_text().count("two?") == 1
        assert "<script>" not in page.read_text()
        for part in filter(None, HOSTILE.split("\n")):
            assert part.strip() in shown.text
        assert shown.tags <= {"h1", "p", "table", "thead", "tbody", "tr", "th", "td", "br", "code", "a",
                              "html", "meta", "title", "style", "main", "div"}  # fmt: skip
        assert shown.links == []


MARKS = ["# a", "- a", "1. a", "> a", "---", "a | b", "a_b_ *c*", "~~a~~", "&lt;", "\\*", "```", "$a$", "<b>"]


@pytest.mark.parametrize("text", MARKS)
def test_what_markdown_would_read_as_its_own_shows_as_it_was_written(text):
    shown = markdown(f"| h |\n|---|\n| {escaped(text)} |\n")
    assert shown.text.split() == ["h", *text.split()]
    assert shown.tags == {"table", "thead", "tbody", "tr", "th", "td"}
