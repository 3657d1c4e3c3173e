"""Charts of a sweep's report: where trials stand on their axes."""

from cogito_ray.records.ledger import Reported, SweepOpened, TrialEnded, TrialStarted
from cogito_ray.records.pages.report_charts import CURVES, POINTS, curves, parallel, some_rows
from cogito_ray.records.provenance import Provenance
from cogito_ray.records.results.trial_ranking import rank
from cogito_ray.records.sweep_record import fold

NATS = "eval/reconstruction_nats"
SPACE = {
    "loss.weighting": {"choice": ["fixed", "capped"]},
    "loss.weighting.share": {"uniform": [0.1, 0.5], "when": {"loss.weighting": "capped"}},
}


def drawn(*samples, space=SPACE):
    """The dimensions of the parallel coordinates of trials with these samples, by label."""
    origin = Provenance(commit=None, dirty=False, versions={}, host="here")
    spec = {"goals": [{"metric": NATS, "mode": "min"}], "space": space}
    told = [SweepOpened(at=0.0, spec=spec, sweep="s", provenance=origin)]
    for number, sample in enumerate(samples):
        name = f"t{number}"
        told.append(TrialStarted(at=0.0, trial=name, number=number, sample=sample, spec={}))
        told.append(Reported(trial=name, step=10, seconds=1.0, metrics={NATS: -float(number)}))
        told.append(TrialEnded(at=1.0, trial=name, status="completed", step=10))
    record = fold(told)
    return {line.label: line for line in parallel(record, rank(record)).data[0].dimensions}


def test_a_trial_without_an_axis_stands_below_all_that_have_it_and_is_named_so():
    lines = drawn({"loss.weighting": "fixed"}, {"loss.weighting": "capped", "loss.weighting.share": 0.1})
    absent, lowest = lines["weighting.share"].values
    assert absent < lowest == 0.1
    assert dict(zip(lines["weighting.share"].tickvals, lines["weighting.share"].ticktext, strict=True)) == {
        absent: "not varied",
        0.1: "0.1",
        0.5: "0.5",
    }


def test_words_stand_by_their_place_in_the_domain():
    lines = drawn({"loss.weighting": "capped", "loss.weighting.share": 0.3}, {"loss.weighting": "fixed"})
    assert list(lines["loss.weighting"].values) == [1, 0]
    assert list(lines["loss.weighting"].ticktext) == ["fixed", "capped"]


def test_an_axis_of_billions_of_numbers_is_drawn_from_end_to_end_without_listing_them():
    seed = drawn({"seed": 7}, {"seed": 9}, space={"seed": {"randint": [0, 2**31 - 1]}})["seed"]
    assert (tuple(seed.values), tuple(seed.range), seed.ticktext) == ((7, 9), (0, 2**31 - 1), None)


def test_of_thousands_of_trials_and_reports_a_chart_holds_the_best_and_a_bounded_number_of_points():
    origin = Provenance(commit=None, dirty=False, versions={}, host="here")
    spec = {"goals": [{"metric": NATS, "mode": "min"}], "space": {}}
    told = [SweepOpened(at=0.0, spec=spec, sweep="s", provenance=origin)]
    for number in range(2 * CURVES):
        name, last = f"t{number}", POINTS * 2 + 3 if number == 2 * CURVES - 1 else 2
        told.append(TrialStarted(at=0.0, trial=name, number=number, sample={}, spec={}))
        steps = range(1, last + 1)
        told += [Reported(trial=name, step=step, seconds=1.0, metrics={NATS: -float(number)}) for step in steps]
        told.append(TrialEnded(at=1.0, trial=name, status="completed", step=last))
    record = fold(told)
    ranking = rank(record)
    lines = curves(record, ranking, NATS).data
    assert len(lines) == CURVES
    assert {line.type for line in lines} == {"scattergl"}
    assert lines[-1].y[-1] == 1.0 - 2 * CURVES                           # the winner is on top
    assert len(lines[-1].x) <= POINTS
    assert lines[-1].x[-1] == POINTS * 2 + 3
    assert [row.number for row in some_rows(ranking, 3)] == [2 * CURVES - 1, 2 * CURVES - 2, CURVES - 1]
