"""What all pages share: templates, figures that need nothing else."""

from pathlib import Path

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs


def environment() -> Environment:
    """Templates of this folder; what they are given is escaped, what they ask for must be given."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.globals["plotly"] = Markup(get_plotlyjs())
    return made


def chart(figure: go.Figure | None, name: str) -> Markup:
    """The figure's element and script; nothing where there is no figure. Plotly escapes what could end a script."""
    if figure is None:
        return Markup("")
    config = {"responsive": True, "displaylogo": False, "modeBarButtons": [["toImage"]]}  # others reach for the network
    return Markup(figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"chart-{name}", config=config))
