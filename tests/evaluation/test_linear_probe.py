import numpy as np
import pytest

from cogito_ray.evaluation.protocols.linear_probe import bag_of_words, baselines, features, majority, predict
from cogito_ray.evaluation.tasks.sentence_tasks import TASKS, Examples

DRAW = np.random.default_rng(0)
KNOWN, ASKED = DRAW.normal(size=(200, 6)), DRAW.normal(size=(100, 6))


def test_a_probe_finds_a_linear_map_of_grades():
    slope = np.arange(6.0)
    told = predict(KNOWN, KNOWN @ slope + 3, ASKED, graded=True)
    assert told == pytest.approx(ASKED @ slope + 3, abs=0.02)       # the smallest penalty, 0.1, of 200 rows


def test_a_probe_finds_classes_that_a_line_separates():
    told = predict(KNOWN, (KNOWN[:, 0] > 0).astype(np.int64), ASKED, graded=False)
    assert (told == (ASKED[:, 0] > 0)).mean() > 0.95


def test_a_probe_of_constant_vectors_says_what_the_majority_says():
    labels = np.array([0, 1, 2, 2, 2])
    told = predict(np.ones((5, 4)), labels, np.ones((3, 4)), graded=False)
    assert told.tolist() == [majority(labels, graded=False)] * 3 == [2, 2, 2]
    grades = predict(np.ones((5, 4)), labels / 2, np.ones((3, 4)), graded=True)
    assert grades == pytest.approx([majority(labels / 2, graded=True)] * 3)


def test_two_texts_are_both_vectors_their_distance_and_their_product():
    pair = Examples(["1 2"], ["3 1"], np.array([1]))
    vectors = features(pair, lambda texts: np.array([[float(n) for n in text.split()] for text in texts]))
    assert vectors.tolist() == [[1, 2, 3, 1, 2, 1, 3, 2]]
    alone = features(Examples(["1 2"], None, np.array([1])), lambda texts: np.array([[1.0, 2.0]]))
    assert alone.tolist() == [[1, 2]]


def test_a_bag_of_words_knows_which_words_stand_there():
    vectorize = bag_of_words(["a b", "b c c"])
    assert vectorize(["c c x", "a b"]).tolist() == [[0, 0, 1], [1, 1, 0]]


def test_some_examples_are_drawn_alike_every_time_and_stay_together():
    examples = Examples([str(n) for n in range(50)], [str(-n) for n in range(50)], np.arange(50))
    drawn = examples.some(10)
    assert drawn.one == examples.some(10).one == [str(n) for n in drawn.labels]
    assert drawn.two == [str(-n) for n in drawn.labels]
    assert len(set(drawn.one)) == 10
    assert examples.some(50) is examples
    assert examples.some(10, seed=1).one != drawn.one


def test_the_tf_idf_baseline_learns_from_pairs_of_words_what_a_bag_of_words_cannot():
    """Both classes hold the same words, in another order."""
    draw = np.random.default_rng(0)
    words = np.array([f"w{number}" for number in range(40)])
    labels = np.arange(200) % 2
    texts = [f"{' '.join(draw.choice(words, 5))} {'not good' if label else 'good not'}" for label in labels]
    train, scored = Examples(texts[:150], None, labels[:150]), Examples(texts[150:], None, labels[150:])
    told = dict(baselines(TASKS["sst2"], train=train, scored=scored))
    assert list(told) == ["bag_of_words", "tf_idf", "majority"]
    assert (told["tf_idf"] == scored.labels).mean() == 1
    assert (told["bag_of_words"] == scored.labels).mean() < 0.8


def test_the_tf_idf_baseline_of_one_class_is_the_majority():
    train, scored = Examples(["a", "b"], ["c", "d"], np.array([1, 1])), Examples(["a"], ["b"], np.array([0]))
    assert dict(baselines(TASKS["mrpc"], train=train, scored=scored))["tf_idf"].tolist() == [1]
