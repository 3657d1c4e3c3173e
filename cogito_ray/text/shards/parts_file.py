"""How a source's text is cut into parts, kept beside its shards for those who read the text again, on any machine.

The first line says how parts are packed and in which files they lie; each further one is a part. So a part costs its
writer nothing, and its reader some hundred bytes until it is asked for.
"""

import json
from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, TypeAdapter, ValidationError

from cogito_ray.atomic_files import atomic_write
from cogito_ray.text.shards.shard_builder import BuildSettings
from cogito_ray.text.shards.token_shards import PARTS
from cogito_ray.text.sources import AnyPiece
from cogito_ray.text.sources.documents import Part
from cogito_ray.text.sources.filesystem_access import File

_PIECES = TypeAdapter(tuple[AnyPiece, ...])


class _Head(BaseModel):
    length: int
    held_out: float
    packing: str
    cleaned: bool
    files: tuple[File, ...]


class PartsFile:
    """The parts of a source by their number. FileNotFoundError; ValidationError where it was altered by hand."""

    def __init__(self, folder: Path):
        self.folder = folder
        head, *self._lines = (folder / PARTS).read_bytes().splitlines() or [b""]
        self._head = _Head.model_validate_json(head)

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, number: int) -> Part:
        pieces = [{**piece, "file": self._head.files[piece["file"]]} for piece in json.loads(self._lines[number])]
        return Part(_PIECES.validate_python(pieces))

    def settings(self, tokenizer: Path) -> BuildSettings:
        """How parts are packed; `tokenizer`: the folder of the one they were counted with."""
        head = self._head
        return BuildSettings(
            self.folder, tokenizer, head.length, head.held_out, head.packing, keeps_rows=False, cleaned=head.cleaned
        )

    @cached_property
    def places(self) -> set[str]:
        """Where the files lay when this was written."""
        return {file.path for file in self._head.files}


def write_parts_file(settings: BuildSettings, parts: Sequence[Part]) -> None:
    """Whole or not at all, to the folder of the source's shards."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    pieces = [cast(tuple[AnyPiece, ...], part.pieces) for part in parts]
    numbers = {file: number for number, file in enumerate(dict.fromkeys(each.file for few in pieces for each in few))}
    head = _Head(
        length=settings.length,
        held_out=settings.held_out,
        packing=settings.packing,
        cleaned=settings.cleaned,
        files=tuple(numbers),
    )
    with atomic_write(settings.folder / PARTS) as stream:
        stream.write(head.model_dump_json().encode() + b"\n")
        for few in pieces:
            stream.write(json.dumps([_plain(piece, numbers) for piece in few], separators=(",", ":")).encode() + b"\n")


def parts_lie_at(folder: Path, places: set[str]) -> bool:
    """Whether the text whose parts file stands in `folder` lies at these places, whatever it was moved from."""
    try:
        return PartsFile(folder).places <= places
    except ValidationError:
        return False


def _plain(piece: AnyPiece, numbers: dict[File, int]) -> dict[str, Any]:
    return {field.name: getattr(piece, field.name) for field in fields(piece)} | {"file": numbers[piece.file]}
