"""Hand-made cases; for what scikit-learn and scipy leave open, what an honest table needs."""

from functools import partial

import numpy as np
import pytest
import sklearn.metrics
from scipy import stats

from cogito_ray.evaluation.bootstrap_metrics import METRICS, OF_GRADES, score, value_of

GRADES = np.array([1.0, 2.0, 3.0, 4.0, 5.0])


@pytest.mark.parametrize(
    ("metric", "labels", "predictions", "value"),
    [
        ("accuracy", [0, 1, 2, 2], [0, 1, 2, 0], 3 / 4),
        ("f1", [1, 1, 1, 0, 0], [1, 1, 0, 1, 0], 2 / 3),        # precision and recall 2/3
        ("f1", [1, 1, 0, 0], [0, 0, 0, 0], 0.0),
        ("matthews", [1, 1, 1, 0, 0], [1, 1, 0, 1, 0], (2 * 1 - 1 * 1) / np.sqrt(3 * 3 * 2 * 2)),
        ("matthews", [1, 0, 1, 0], [1, 1, 1, 1], 0.0),
        ("pearson", GRADES, [2.0, 4.0, 6.0, 8.0, 10.0], 1.0),
        ("pearson", GRADES, [1.0, 2.0, 3.0, 4.0, 10.0], 20 / np.sqrt(10 * 50)),
        ("spearman", GRADES, [1.0, 2.0, 3.0, 4.0, 100.0], 1.0),
        ("spearman", GRADES, [5.0, 4.0, 3.0, 2.0, 1.0], -1.0),
        ("spearman", [1.0, 2.0, 3.0], [1.0, 1.0, 2.0], np.sqrt(3) / 2),   # ranks 1.5, 1.5, 3 against 1, 2, 3
    ],
)
def test_a_metric_has_its_value_by_hand(metric: str, labels, predictions, value: float):
    assert value_of(metric, np.array(labels), np.array(predictions)) == pytest.approx(value)


REFERENCES = {
    "accuracy": sklearn.metrics.accuracy_score,
    "f1": partial(sklearn.metrics.f1_score, zero_division=0.0),
    "matthews": sklearn.metrics.matthews_corrcoef,
    "pearson": lambda one, two: stats.pearsonr(one, two).statistic,
    "spearman": lambda one, two: stats.spearmanr(one, two).statistic,
}
"""The libraries' functions by their official names."""


@pytest.mark.filterwarnings("ignore:An input array is constant")
@pytest.mark.parametrize("metric", METRICS)
def test_all_resamples_at_once_have_the_reference_librarys_value_of_each(metric: str):
    draw = np.random.default_rng(0)
    labels, predictions = draw.integers(0, 2, (40, 9)), draw.integers(0, 2, (40, 9))    # ties; some rows are constant
    if metric in OF_GRADES:
        labels, predictions = labels + draw.integers(0, 3, (40, 9)), predictions * draw.choice([0.0, 0.3, 1e9], (40, 1))
    at_once = METRICS[metric](labels, predictions)
    each = [REFERENCES[metric](*row) for row in zip(labels, predictions, strict=True)]
    assert at_once == pytest.approx(np.nan_to_num(each))
    assert 0.0 in at_once or metric == "accuracy"


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_is_that_of_the_reference_library(metric: str):
    """On classes with ties and a grade's column."""
    draw = np.random.default_rng(1)
    labels, predictions = draw.integers(0, 2, 60), draw.integers(0, 2, 60)
    if metric in OF_GRADES:
        labels, predictions = draw.integers(0, 6, 60) / 2.0, draw.normal(size=60).round(1)
    assert value_of(metric, labels, predictions[:, None]) == pytest.approx(REFERENCES[metric](labels, predictions))


@pytest.mark.parametrize("metric", ["f1", "matthews"])
def test_a_metric_of_two_classes_refuses_a_third(metric: str):
    with pytest.raises(ValueError, match=rf"{metric}: is of classes 0 and 1, but labels are \[0 1 2\]"):
        value_of(metric, np.array([0, 1, 2]), np.array([0, 1, 1]))


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_one_column_is_one_prediction_each(metric: str):
    assert value_of(metric, GRADES, GRADES[:, None] ** 2) == value_of(metric, GRADES, GRADES**2)


@pytest.mark.parametrize("metric", METRICS)
def test_two_columns_are_refused_and_never_read_as_one(metric: str):
    with pytest.raises(ValueError, match=r"shape \(5, 2\)"):
        value_of(metric, GRADES, np.stack([GRADES, GRADES], axis=1))


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
@pytest.mark.parametrize("constant", [0.0, 0.1 + 0.2, 1e9])
def test_constant_predictions_correlate_with_nothing(metric: str, constant: float):
    predictions = np.full(5, constant)
    predictions[1] = predictions[1] * 3 / 3             # what rounding makes of an equal value
    assert value_of(metric, GRADES, predictions) == 0.0
    told = score(metric, GRADES, predictions)
    assert (told.value, told.low, told.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_constant_labels_are_an_error(metric: str):
    with pytest.raises(ValueError, match="nothing to correlate with"):
        value_of(metric, np.ones(5), GRADES)


def test_predictions_that_are_not_finite_are_an_error():
    with pytest.raises(ValueError, match="1 of 5 predictions are not finite"):
        value_of("spearman", GRADES, np.array([1, 2, np.nan, 4, 5]))


def test_an_interval_of_an_accuracy_is_about_that_of_the_binomial():
    labels = np.zeros(400, dtype=np.int64)
    predictions = (np.arange(400) % 4 == 0).astype(np.int64)        # 300 of 400 right
    told = score("accuracy", labels, predictions)
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)                        # 0.042; 500 resamples know it to about a tenth
    assert told.value == 0.75
    assert told.low == pytest.approx(0.75 - half, abs=0.01)
    assert told.high == pytest.approx(0.75 + half, abs=0.01)


def test_equal_seeds_draw_equal_intervals():
    draw = np.random.default_rng(0)
    labels, predictions = draw.random(50), draw.random(50)
    assert score("spearman", labels, predictions) == score("spearman", labels, predictions)
    assert score("spearman", labels, predictions) != score("spearman", labels, predictions, seed=1)
