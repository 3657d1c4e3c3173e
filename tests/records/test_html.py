"""What all pages share."""

import plotly.graph_objects as go
import pytest
from jinja2 import UndefinedError

from cogito_ray.records.html import chart, environment, write_whole


def test_what_templates_are_given_is_escaped_and_what_they_ask_for_must_be_given():
    template = environment().from_string("{{ said }}")
    assert template.render(said="<b>") == "&lt;b&gt;"
    with pytest.raises(UndefinedError, match="'said' is undefined"):
        template.render()


def test_a_chart_does_not_bring_the_library_again():
    element = chart(go.Figure(go.Scatter(y=[1, 2])), "lines")
    assert 'id="chart-lines"' in element
    assert len(element) < 20_000
    assert chart(None, "none") == ""


def test_a_file_is_replaced_at_once_and_nothing_else_is_left(tmp_path):
    (tmp_path / "page.html").write_text("old")
    assert write_whole(tmp_path / "page.html", "new").read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
