"""The analysis page's figures, of made-up assessments."""

from dataclasses import replace

import pytest
from test_analysis_page import made

from cogito_ray.analysis.analysis_result import Analysis, AttentionMap, DepthMetrics, LayerProbes
from cogito_ray.records.pages import analysis_charts as charts


def with_plots(**changed: object) -> Analysis:
    analysis = made()
    return replace(analysis, plots=replace(analysis.plots, **changed))


@pytest.mark.parametrize("count", [1, 2])
def test_each_checkpoint_has_a_spectrum_of_a_text_and_of_the_mean_text(count: int):
    figure = charts.spectra([made(), made("two")][:count])
    assert len(figure.data) == 2 * count
    assert [tuple(trace.y) for trace in figure.data[:2]] == [(0.6, 0.4), (0.9, 0.1)]
    assert list(figure.data[0].x) == [1, 2]


def test_bars_of_the_histogram_stand_in_the_middle_of_their_part():
    (bars,) = charts.histogram([made()]).data
    assert list(bars.x) == [-0.5, 0.5]


def test_spaces_and_line_ends_of_tokens_are_shown():
    attention_map = AttentionMap([" a", "\n", ""], [[0.5, 0.25, 0.25]])
    figure = charts.attention_map(with_plots(attention_map=attention_map))
    assert list(figure.layout.xaxis.ticktext) == ["␣a", "↵", "∅"]


def test_tokens_of_long_texts_are_named_on_hovering_alone():
    figure = charts.attention_map(with_plots(attention_map=AttentionMap(["a"] * 81, [[1 / 81] * 81] * 2)))
    assert figure.layout.xaxis.ticktext is None
    assert len(figure.data[0].customdata[1]) == 81


def test_places_span_the_text_whatever_its_parts():
    (heat,) = charts.positions(with_plots(positions=[[0.25] * 4])).data
    assert list(heat.x) == [0.125, 0.375, 0.625, 0.875]


def test_concepts_have_colours_of_their_own_on_the_plane():
    figure = charts.pca(made())
    assert len({trace.marker.color for trace in figure.data}) == 2
    assert figure.layout.xaxis.title.text == "first axis, 50% of the variance"


def test_probes_are_drawn_by_block_and_left_out_where_they_were_not_asked():
    layers = [LayerProbes(number, 2.0, {"word_content_auc": 0.5 + number / 10}) for number in (1, 2)]
    drawn = charts.depths([replace(made(), layers=layers)])
    assert drawn is not None
    assert [list(trace.y or ()) for trace in drawn.data] == [[0.6, 0.7], [], []]
    assert charts.depths([replace(made(), layers=[LayerProbes(1, 2.0, {})])]) is None


def test_the_depth_of_training_is_ringed():
    told = [DepthMetrics(times, times == 4, {"nats": 6.0 - times}) for times in (2, 4, 8)]
    (line,) = charts.iterations(replace(made(), iterations=told), "nats").data
    assert list(line.marker.symbol) == ["circle", "circle-open", "circle"]
    assert list(line.x) == [2, 4, 8]
