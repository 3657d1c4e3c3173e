from base64 import b64encode

import numpy as np
import pytest

from cogito_ray.display import result_tables
from cogito_ray.display.console import out
from cogito_ray.evaluation.bootstrap_metrics import cluster_bootstrap, score
from cogito_ray.evaluation.score_names import all_score_names, without_settings
from cogito_ray.records.ledger import Evaluated, TaskScore
from cogito_ray.records.results.evaluation_scores import best_of_each, scored


def evaluated(
    seed: int = 0,
    value: float = 0.5,
    *,
    task: str = "rte",
    vectors: str = "via_decoder",
    trial: str = "t1",
    **settings: object,
) -> Evaluated:
    """With an interval of 0.1 to both sides, and a majority of 0.4."""
    given = [(vectors, value, False), ("majority", 0.4, True)]
    return Evaluated(
        at=1.0,
        trial=trial,
        step=20,
        key=f"{trial} {task} {seed} {value}",
        checkpoint="c",
        code="v",
        task=task,
        protocol="fine-tune",
        settings=settings,
        seed=seed,
        examples=277,
        truncated=69,
        seconds=1.0,
        scores=tuple(
            TaskScore(vectors=name, baseline=baseline, metric="accuracy", value=mean, low=mean - 0.1, high=mean + 0.1)
            for name, mean, baseline in given
        ),
    )


def test_a_row_is_the_mean_over_seeds_with_an_interval_that_covers_that_of_each():
    head, majority = scored([evaluated(0, 0.5), evaluated(1, 0.7)])
    assert (head.vectors, head.seeds, head.baseline, head.examples) == ("via_decoder", 2, False, 277)
    assert (head.value, head.low, head.high) == pytest.approx((0.6, 0.4, 0.8))
    assert (majority.vectors, majority.seeds, majority.baseline) == ("majority", 2, True)
    assert (majority.value, majority.low, majority.high) == pytest.approx((0.4, 0.3, 0.5))


def test_of_a_question_asked_twice_the_last_answer_counts():
    head, _ = scored([evaluated(0, 0.5), evaluated(0, 0.9)])
    assert (head.value, head.seeds) == (0.9, 1)


def test_trials_tasks_and_heads_are_rows_of_their_own_in_the_order_they_came():
    attention = evaluated(vectors="attention", head={"kind": "attention"})
    told = scored([evaluated(), evaluated(task="cola"), evaluated(trial="t2"), attention, evaluated(1)])
    heads = [(row.trial, row.task, row.vectors) for row in told if not row.baseline]
    via = "via_decoder"
    assert heads == [("t1", "rte", via), ("t1", "cola", via), ("t2", "rte", via), ("t1", "rte", "attention")]


def test_variants_of_one_head_are_rows_of_their_own_told_apart_by_what_differs():
    same = {"batch": 16, "head": {"kind": "attention"}}
    told = scored([evaluated(seed, rate, **same, learning_rate=rate) for rate in (0.25, 0.5) for seed in (0, 1)])
    assert [(row.variant, row.value, row.seeds) for row in told if not row.baseline] == [
        ("learning_rate: 0.25", 0.25, 2),
        ("learning_rate: 0.5", 0.5, 2),
    ]


def test_a_setting_of_some_heads_only_tells_variants_apart():
    heads = ({"kind": "mean"}, {"kind": "attention", "temperature": 2.0})
    told = scored([evaluated(head=head) for head in heads])
    assert [row.variant for row in told if not row.baseline] == [
        "head.kind: mean",
        "head.kind: attention, head.temperature: 2.0",
    ]


def test_settings_that_agree_are_not_told():
    assert {row.variant for row in scored([evaluated(0, batch=16), evaluated(1, batch=16)])} == {""}


def test_the_terminal_shows_variants_and_how_much_was_cut(capsys):
    out.print(result_tables.scores(scored([evaluated(epochs=1), evaluated(epochs=2)])))
    said = capsys.readouterr().out
    assert "epochs: 1" in said
    assert "epochs: 2" in said
    assert "25%" in said


LABELS = np.random.default_rng(0).integers(0, 2, 400)


def answered(trial: str, wrong: int, *, rows: str = "r", seed: int = 0, kept: bool = True) -> Evaluated:
    """A trial that takes the first so many examples for the other class."""
    found = score("accuracy", LABELS, np.where(np.arange(len(LABELS)) < wrong, 1 - LABELS, LABELS))
    resamples = b64encode(found.resamples.astype("<f4").tobytes()).decode() if kept else None
    told = {"value": found.value, "low": found.low, "high": found.high, "resamples": resamples}
    [one, *_] = (event := evaluated(seed, trial=trial)).scores
    return event.model_copy(update={"rows": rows, "scores": (one.model_copy(update=told),)})


def test_a_checkpoint_is_exactly_as_good_as_itself_under_another_name():
    one, two = scored([answered("a", 40), answered("b", 40)])
    assert (one.behind, two.behind, two.behind_low, two.behind_high, two.indistinguishable) == (0, 0, 0, 0, True)


def test_what_is_worse_on_the_same_examples_is_told_apart_although_the_intervals_overlap():
    worse, best = scored([answered("a", 56), answered("b", 40)])
    assert worse.high > best.low
    assert worse.behind == pytest.approx(0.04)
    assert worse.behind_low > 0
    assert (worse.indistinguishable, best.indistinguishable) == (False, True)
    assert worse.standing == "0.040 behind"


def test_what_differs_in_an_example_or_two_is_indistinguishable():
    worse, _ = scored([answered("a", 41), answered("b", 40)])
    assert (worse.behind_low, worse.indistinguishable) == (0, True)
    assert worse.standing == "indistinguishable"


def test_answers_to_other_examples_or_without_resamples_are_not_compared():
    other, old, best = scored([answered("a", 90, rows="s"), answered("b", 80, kept=False), answered("c", 40)])
    assert (other.behind, best.behind) == (0, 0)                            # each the best of its own examples
    assert (old.behind, old.indistinguishable, old.standing) == (None, None, "not compared")


def test_differences_are_of_means_over_seeds():
    worse, _ = scored([answered("a", 40), answered("a", 72, seed=1), answered("b", 40)])
    assert worse.behind == pytest.approx(0.04)


def test_equal_documents_are_resampled_alike_whatever_their_questions_are_worth():
    groups, values = np.repeat(np.arange(20), 3), np.random.default_rng(1).random(60)
    one, two = (cluster_bootstrap(each, groups) for each in (values, values + 0.25))
    np.testing.assert_allclose(two.resamples - one.resamples, 0.25, atol=1e-12)             # rounding


def test_every_variant_of_a_head_is_a_figure_and_the_best_has_the_plain_name():
    variants = [evaluated(0, value, vectors="queries", head={"queries": n}) for n, value in ((4, 0.7), (1, 0.6))]
    found, stem = best_of_each(scored(variants)), "labelled/rte/fine-tune"
    assert found[f"{stem}/queries/head-queries-4/accuracy"] == found[f"{stem}/queries/accuracy"] == 0.7
    assert found[f"{stem}/queries/head-queries-1/accuracy"] == 0.6
    plain = without_settings(f"{stem}/queries/head-queries-4/accuracy")
    assert plain == f"{stem}/queries/accuracy"
    assert plain in all_score_names()
