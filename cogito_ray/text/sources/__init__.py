"""Where documents come from. A source knows what it holds (fingerprint) and how to cut itself into parts to read."""

from typing import Annotated

from pydantic import Field

from cogito_ray.text.sources.hugging_face_hub import HubSpec
from cogito_ray.text.sources.python_docs import PythonDocsSpec
from cogito_ray.text.sources.text_files import FilesSpec, JsonLinesPiece, ParquetPiece, TextPiece, UnreadablePiece

AnyPiece = Annotated[ParquetPiece | JsonLinesPiece | TextPiece | UnreadablePiece, Field(discriminator="kind")]
SourceSpec = Annotated[FilesSpec | HubSpec | PythonDocsSpec, Field(discriminator="kind")]
