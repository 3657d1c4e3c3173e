"""Where documents come from. A source knows what it holds (fingerprint) and how to cut itself into parts to read."""

from typing import Annotated

from pydantic import Field

from cogito_ray.text.sources.columnar_files import ArrowPiece, CsvPiece, ParquetPiece, UnreadablePiece
from cogito_ray.text.sources.hugging_face_hub import HubSpec
from cogito_ray.text.sources.line_files import JsonLinesPiece, TextPiece
from cogito_ray.text.sources.python_docs import PythonDocsSpec
from cogito_ray.text.sources.text_files import FilesSpec

AnyPiece = Annotated[
    ParquetPiece | ArrowPiece | CsvPiece | JsonLinesPiece | TextPiece | UnreadablePiece, Field(discriminator="kind")
]
SourceSpec = Annotated[FilesSpec | HubSpec | PythonDocsSpec, Field(discriminator="kind")]
