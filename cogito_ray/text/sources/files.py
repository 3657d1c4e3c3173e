"""Documents in Parquet, JSON Lines or plain text files, on any file system that pyarrow or fsspec reaches."""

from typing import Literal

from pydantic import PositiveFloat

from cogito_ray.spec import Spec


class FilesSpec(Spec):
    kind: Literal["files"] = "files"
    path: str
    """A file, a folder (read recursively) or a glob; local or a URL such as s3://bucket/folder."""
    column: str = "text"
    """Field that holds a document's text (Parquet and JSON Lines; a .txt file is one document)."""
    weight: PositiveFloat = 1.0
    """Share of the rows drawn from this source, relative to the other sources."""
