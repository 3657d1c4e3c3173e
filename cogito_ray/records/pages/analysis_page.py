"""The analysis of one checkpoint, or of two side by side: analysis.html and analysis.json."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cogito_ray.analysis.analysis_result import Analysis, ConceptAttention
from cogito_ray.analysis.thresholds import THRESHOLDS, Assessment, Conclusion, Threshold
from cogito_ray.atomic_files import atomic_write_text
from cogito_ray.records.pages import analysis_charts as charts
from cogito_ray.records.pages.page_templates import chart, environment
from cogito_ray.records.results.trial_ranking import figures

PAGE, DATA = "analysis.html", "analysis.json"
DIGITS = 5


def write(analyses: Sequence[Analysis], folder: Path) -> tuple[Path, Path]:
    """-> the page and the data, in `folder`, made if need be. ValueError where there are more than two analyses."""
    if not 1 <= len(analyses) <= 2:
        raise ValueError(f"an analysis shows one checkpoint or two side by side, got {len(analyses)}")
    folder.mkdir(parents=True, exist_ok=True)
    data = json.dumps([_rounded(asdict(analysis)) for analysis in analyses], allow_nan=False)
    return atomic_write_text(folder / PAGE, render(analyses)), atomic_write_text(folder / DATA, data + "\n")


def render(analyses: Sequence[Analysis]) -> str:
    """The page as HTML."""
    templates = environment()
    templates.filters |= {"figure": figures, "bounds": bounds, "kind": most_lifted_kind}
    templates.tests["alarming"] = lambda conclusion: conclusion in (Conclusion.COLLAPSED, Conclusion.EMPTY)
    return templates.get_template("analysis.html").render(
        analyses=analyses,
        rows=[(threshold, [_assessment(analysis, threshold) for analysis in analyses]) for threshold in THRESHOLDS],
        charts={
            "spectra": chart(charts.spectra(analyses), "spectra"),
            "histogram": chart(charts.histogram(analyses), "histogram"),
            "depths": chart(charts.depths(analyses), "depths"),
        },
        plots=[
            {
                "cosines": chart(charts.cosines(analysis), f"cosines-{number}"),
                "positions": chart(charts.positions(analysis), f"positions-{number}"),
                "attention_map": chart(charts.attention_map(analysis), f"attention_map-{number}"),
                "pca": chart(charts.pca(analysis), f"pca-{number}"),
                "iterations": [
                    chart(charts.iterations(analysis, metric), f"iterations-{number}-{place}")
                    for place, metric in enumerate(analysis.changed_by_depth)
                ],
            }
            for number, analysis in enumerate(analyses)
        ],
    )


def bounds(threshold: Threshold) -> str:
    """What passes, and what is critical."""
    above, below = ("≥", "<") if threshold.good > threshold.bad else ("≤", ">")
    return f"{above} {threshold.good:g}, critical {below} {threshold.bad:g}"


def most_lifted_kind(attended: ConceptAttention) -> str:
    """The kind of token that a concept lifts most."""
    kind = max(attended.kinds, key=lambda name: attended.kinds[name])
    return f"{kind} ×{attended.kinds[kind]:.1f}"


def _assessment(analysis: Analysis, threshold: Threshold) -> Assessment | None:
    return next((found for found in analysis.assessments if found.threshold == threshold), None)


def _rounded(tree: Any) -> Any:
    """Five significant digits are more than a figure of a few hundred texts has."""
    match tree:
        case dict():
            return {name: _rounded(value) for name, value in tree.items()}
        case list() | tuple():
            return [_rounded(value) for value in tree]
        case float():
            return float(f"{tree:.{DIGITS}g}")
        case _:
            return tree
