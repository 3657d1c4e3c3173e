"""The analysis page's charts: Plotly figures of one checkpoint's concepts, or of two."""

from collections.abc import Sequence

import plotly.graph_objects as go

from cogito_ray.analysis.analysis_result import Analysis
from cogito_ray.records.pages.report_charts import COMPLETED, CONSTANT, WINNER, laid_out

CHECKPOINTS = (WINNER, COMPLETED)
"""The first, the second."""
READ = [(0.0, "rgba(232,89,12,0)"), (0.25, "rgba(232,89,12,0.4)"), (1.0, WINNER)]
ALIKE = [(0.0, COMPLETED), (0.5, "rgba(128,138,150,0)"), (1.0, WINNER)]
"""From opposite (-1) to alike (1)."""
LEGEND = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
PROBES = {
    "word_content_auc": "words (chance 0.5)",
    "word_order_accuracy": "their order (chance 0.5)",
    "length_explained": "length (chance 0)",
}


def spectra(analyses: Sequence[Analysis]) -> go.Figure:
    """Singular values over their sum: of a text's concepts, and of the mean concepts."""
    figure = go.Figure()
    for analysis, colour in zip(analyses, CHECKPOINTS, strict=False):
        plots = analysis.plots
        for values, what, dash in (
            (plots.spectrum, "a text", "solid"), (plots.mean_spectrum, "the mean text", "dot")
        ):  # fmt: skip
            figure.add_scatter(
                x=list(range(1, len(values) + 1)),
                y=values,
                mode="lines",
                name=f"{what}, {analysis.name}" if len(analyses) > 1 else what,
                line={"color": colour, "dash": dash, "width": 2.5},
                hovertemplate="direction %{x}: %{y:.3f}<extra></extra>",
            )
    figure.update_xaxes(title="direction")
    figure.update_yaxes(title="share of all singular values", rangemode="tozero")
    return laid_out(figure, height=380).update_layout(legend=LEGEND)


def histogram(analyses: Sequence[Analysis]) -> go.Figure:
    """How often two concepts of a text lie at which cosine."""
    figure = go.Figure()
    for analysis, colour in zip(analyses, CHECKPOINTS, strict=False):
        shares = analysis.plots.cosine_histogram
        width = 2 / len(shares)
        figure.add_bar(
            x=[-1 + (part + 0.5) * width for part in range(len(shares))],
            y=shares,
            name=analysis.name,
            marker={"color": colour},
            opacity=0.75,
            hovertemplate="about %{x:.2f}: %{y:.1%} of pairs<extra></extra>",
        )
    figure.update_xaxes(title="cosine of two concepts of a text", range=[-1, 1])
    figure.update_yaxes(title="share of pairs", tickformat=".0%")
    figure.update_layout(barmode="overlay", bargap=0.05, legend=LEGEND, showlegend=len(analyses) > 1)
    return laid_out(figure, height=420)


def cosines(analysis: Analysis) -> go.Figure:
    """(C, C) mean over texts."""
    heat = go.Heatmap(
        z=analysis.plots.cosines, zmin=-1, zmax=1, colorscale=ALIKE, colorbar={"title": "cosine", "thickness": 12},
        hovertemplate="concepts %{y} and %{x}: %{z:.2f}<extra></extra>",
    )  # fmt: skip
    figure = go.Figure(heat)
    figure.update_xaxes(title="concept", constrain="domain")
    figure.update_yaxes(title="concept", autorange="reversed", scaleanchor="x", constrain="domain")
    return laid_out(figure, height=420)


def positions(analysis: Analysis) -> go.Figure:
    """(C, P) what is read where, mean over texts."""
    read = analysis.plots.positions
    parts = len(read[0])
    heat = go.Heatmap(
        z=read, x=[(part + 0.5) / parts for part in range(parts)], zmin=0, colorscale=READ,
        colorbar={"title": "share", "thickness": 12},
        hovertemplate="concept %{y}, %{x:.0%} of the text: %{z:.2f}<extra></extra>",
    )  # fmt: skip
    figure = go.Figure(heat)
    figure.update_xaxes(title="position in the text", tickformat=".0%", range=[0, 1])
    figure.update_yaxes(title="concept", autorange="reversed")
    return laid_out(figure, height=420)


def attention_map(analysis: Analysis) -> go.Figure:
    """What each concept reads of one text, token by token."""
    shown = analysis.plots.attention_map
    numbers = list(range(len(shown.tokens)))
    heat = go.Heatmap(
        z=shown.weights, x=numbers, zmin=0, colorscale=READ, colorbar={"title": "share", "thickness": 12},
        customdata=[[_visible(token) for token in shown.tokens]] * len(shown.weights),
        hovertemplate="concept %{y} reads %{customdata} at %{x}: %{z:.2f}<extra></extra>",
    )  # fmt: skip
    figure = go.Figure(heat)
    named = {"tickvals": numbers, "ticktext": [_visible(token) for token in shown.tokens]} if len(numbers) <= 80 else {}
    figure.update_xaxes(tickangle=-90, tickfont={"size": 11}, showgrid=False, **named)
    figure.update_yaxes(title="concept", autorange="reversed")
    tall = 200 + min(640, max(160, 14 * len(shown.weights)))
    return laid_out(figure, height=tall).update_layout(margin={"b": 110})


def pca(analysis: Analysis) -> go.Figure:
    """Concepts of some texts on their first two principal axes, a colour per concept."""
    figure = go.Figure()
    count = max(1, analysis.concepts - 1)
    for number, points in enumerate(analysis.plots.pca):
        figure.add_scatter(
            x=[x for x, _ in points],
            y=[y for _, y in points],
            mode="markers",
            name=str(number),
            marker={"size": 5, "opacity": 0.7, "color": f"hsl({round(300 * number / count)},65%,52%)"},
            hovertemplate=f"concept {number}<extra></extra>",
        )
    first, second = analysis.plots.pca_variance
    figure.update_xaxes(title=f"first axis, {first:.0%} of the variance")
    figure.update_yaxes(title=f"second axis, {second:.0%}")
    return laid_out(figure, height=420).update_layout(showlegend=False)


def depths(analyses: Sequence[Analysis]) -> go.Figure | None:
    """What linear probes read after each block; None where they were not asked."""
    figure = go.Figure()
    for analysis, dash in zip(analyses, ("solid", "dot"), strict=False):
        for (probe, what), colour in zip(PROBES.items(), (WINNER, COMPLETED, CONSTANT), strict=True):
            points = [(layer.number, layer.probes[probe]) for layer in analysis.layers if probe in layer.probes]
            figure.add_scatter(
                x=[number for number, _ in points],
                y=[value for _, value in points],
                mode="lines+markers",
                name=f"{what}, {analysis.name}" if len(analyses) > 1 else what,
                line={"color": colour, "dash": dash},
                hovertemplate=f"{what}<br>after block %{{x}}: %{{y:.3f}}<extra></extra>",
            )
    if not any(trace.x for trace in figure.data):
        return None
    figure.update_xaxes(title="after block", dtick=1)
    figure.update_yaxes(title="score", range=[0, 1])
    return laid_out(figure, height=340).update_layout(legend=LEGEND)


def iterations(analysis: Analysis, metric: str) -> go.Figure:
    """A metric over how often the one block is applied; what it was trained with is ringed."""
    iterations = analysis.iterations
    figure = go.Figure()
    figure.add_scatter(
        x=[one.depth for one in iterations],
        y=[one.metrics[metric] for one in iterations],
        mode="lines+markers",
        line={"color": WINNER},
        marker={"size": [13 if one.trained else 7 for one in iterations],
                "symbol": ["circle-open" if one.trained else "circle" for one in iterations]},
        hovertemplate="%{x} times: %{y:.4g}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="times the block is applied", tickvals=[one.depth for one in iterations])
    figure.update_yaxes(title=metric)
    return laid_out(figure, height=320)


def _visible(token: str) -> str:
    """A token with its spaces and line ends shown."""
    return token.replace("\n", "↵").replace(" ", "␣") or "∅"
