"""A dataset of the Hugging Face hub, by name, or a local dataset folder in the hub's layout."""

from typing import Literal

from pydantic import PositiveFloat

from cogito_ray.spec import Spec


class HubSpec(Spec):
    kind: Literal["hub"] = "hub"
    name: str
    """`owner/name` on the hub, or a local folder."""
    config: str | None = None
    split: str = "train"
    column: str = "text"
    """Field that holds a document's text."""
    revision: str | None = None
    """Branch, tag or commit; unset: the main branch as it is when prepared."""
    weight: PositiveFloat = 1.0
    """Share of the rows drawn from this source, relative to the other sources."""
