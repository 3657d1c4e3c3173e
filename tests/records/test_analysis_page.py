"""The analysis page, of made-up assessments."""

import json
from dataclasses import replace

import pytest

from cogito_ray.analysis.analysis_result import (
    Analysis,
    AttentionExample,
    AttentionMap,
    ConceptAttention,
    DepthMetrics,
    LayerProbes,
    Plots,
)
from cogito_ray.analysis.thresholds import assess, conclude
from cogito_ray.analysis.weight_health import MatrixHealth
from cogito_ray.records.pages.analysis_page import render, write

EVIL = "</script><b>"


def made(name: str = "one", rank: float = 0.9) -> Analysis:
    """Two concepts, three texts of two tokens."""
    metrics = {"effective_rank_share": rank, "cosine_mean": 0.4, "word_content_auc": 0.7}
    probes = {"word_content_auc": 0.7, "word_order_accuracy": 0.6, "length_explained": 1 / 3}
    example, kinds = AttentionExample("a ", EVIL, " c", 0.8), {"number": 1.5, "rare word": 0.5}
    attended = ConceptAttention(0, 0.5, 0.25, 0.1, 0.9, kinds, [EVIL], [example])
    plots = Plots(
        spectrum=[0.6, 0.4], mean_spectrum=[0.9, 0.1], cosines=[[1.0, 0.2], [0.2, 1.0]], cosine_histogram=[0.5, 0.5],
        positions=[[0.75, 0.25], [0.25, 0.75]], attention_map=AttentionMap([EVIL, "b"], [[0.75, 0.25], [0.25, 0.75]]),
        pca=[[(0.0, 1.0)] * 3, [(1.0, 0.0)] * 3], pca_variance=[0.5, 0.25],
    )  # fmt: skip
    assessments = assess(metrics)
    return Analysis(
        name=name, run="0123456789ab", step=7, texts=3, length=2, concepts=2, width=4, conclusion=conclude(assessments),
        assessments=assessments, metrics=metrics, layers=[LayerProbes(1, 1.5, probes)],
        concept_attention=[attended, replace(attended, number=1)],
        plots=plots, iterations=[], weights=[MatrixHealth(EVIL, (6, 4), 0.5, 2.0, 1.25, 3)],
    )  # fmt: skip


def test_each_finding_stands_beside_its_bounds():
    page = render([made()])
    assert '<td class="number">0.9000</td><td class="verdict pass">pass</td>' in page
    assert '<td class="number">0.4000</td><td class="verdict poor">poor</td>' in page
    assert "≤ 0.3, critical &gt; 0.5" in page
    assert "Sound: concepts are diverse" in page


def test_matrices_stand_with_their_dead_units():
    page = render([made()])
    assert "1 matrices, 3 dead units" in page
    assert '<td class="number">2.000</td><td class="number">1.250</td>' in page


def test_two_checkpoints_stand_side_by_side_and_the_collapsed_one_alarms():
    page = render([made(), made("two", rank=0.1)])
    assert page.count('<p class="headline alarm">') == 1
    assert '<p class="headline alarm">two: Collapsed' in page
    assert {f"chart-cosines-{number}" for number in (0, 1)} <= set(page.replace('"', " ").split())


def test_tokens_cannot_end_a_script_nor_start_an_element():
    page = render([made()])
    assert "</script><b>" not in page
    assert "&lt;/script&gt;&lt;b&gt;" in page


def test_a_question_that_was_not_asked_is_said_to_be_so():
    silent = made()
    page = render([replace(silent, assessments=silent.assessments[:1], layers=[LayerProbes(1, 1.5, {})])])
    assert "not asked" in page
    assert "chart-depths" not in page


def test_the_page_asks_the_network_for_nothing(tmp_path):
    write([made()], tmp_path / "new")
    page = (tmp_path / "new" / "analysis.html").read_text()
    assert "<link" not in page
    assert "<script src" not in page


def test_the_data_hold_what_the_page_shows(tmp_path):
    write([made()], tmp_path)
    (told,) = json.loads((tmp_path / "analysis.json").read_text())
    assert told["layers"][0]["probes"]["length_explained"] == 0.33333
    assert [found["rating"] for found in told["assessments"]] == ["pass", "poor", "pass"]
    assert told["concept_attention"][0]["top_tokens"] == [EVIL]


def test_what_no_iteration_changes_is_not_tabled():
    metrics = [{"eval/reconstruction_nats": 6.5 - times, "eval/unigram_nats": 7.0} for times in (1, 2)]
    iterations = [DepthMetrics(times, times == 2, told) for times, told in enumerate(metrics, start=1)]
    analysis = replace(made(), iterations=iterations)
    assert analysis.changed_by_depth == ["eval/reconstruction_nats"]
    assert "Iterated further, without training" in render([analysis])


@pytest.mark.parametrize("count", [0, 3])
def test_more_than_two_checkpoints_are_refused(count: int, tmp_path):
    with pytest.raises(ValueError, match=f"two side by side, got {count}"):
        write([made()] * count, tmp_path)
