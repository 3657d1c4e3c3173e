"""What all pages share."""

import plotly.graph_objects as go
import pytest
from jinja2 import UndefinedError

from cogito_ray.records.pages.page_templates import chart, environment


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
