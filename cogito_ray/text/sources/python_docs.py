"""English prose that every Python installation holds: the documentation of its library and installed packages."""

from typing import Literal

from pydantic import PositiveFloat

from cogito_ray.spec import Spec


class PythonDocsSpec(Spec):
    kind: Literal["python-docs"] = "python-docs"
    part: Literal["library", "packages"]
    """library: pydoc's topics and the standard library's docstrings; packages: installed packages' docstrings and
    descriptions."""
    weight: PositiveFloat = 1.0
    """Share of the rows drawn from this source, relative to the other sources."""
