"""The folder of an export: new, empty, or an earlier export's. Nothing else that lies there is ever written over."""

import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, JsonValue, ValidationError

from cogito_ray.training.checkpoints.manifest import sha256

RECORD = "export.json"
"""Says what was exported, and which files an export wrote."""
CHECKPOINT = re.compile(r"step-\d{8,}")


class _Record(BaseModel):
    exported: dict[str, JsonValue]
    files: dict[str, str]
    """SHA-256 of each."""


@contextmanager
def export_folder(folder: Path, exported: Mapping[str, JsonValue]) -> Iterator[Path]:
    """An empty draft, whose files become those of `folder` when the block ends, in the place of an earlier export's.

    ValueError as in `refuse_foreign`, also where a file would have the name of one that no export wrote.
    """
    folder = folder.resolve()
    refuse_foreign(folder)
    exists = folder.exists()
    draft = (folder if exists else folder.parent) / f".export-{secrets.token_hex(8)}"
    draft.mkdir(parents=True)
    try:
        yield draft
        files = {name: sha256(draft / name) for name in _files(draft)}
        record = _Record(exported=dict(exported), files=files)
        (draft / RECORD).write_text(record.model_dump_json(indent=1))
        if exists:
            _replace(folder, draft)
        else:
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def refuse_foreign(folder: Path) -> None:
    """ValueError where `folder` holds what no export wrote, or lies among the checkpoints of a run."""
    folder = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: this is a file; export into a new folder")
    if among := next((each for each in (folder, *folder.parents) if _is_of_a_run(each)), None):
        raise ValueError(f"{folder}: {among} holds checkpoints to resume from; export into a folder outside of it")
    if not folder.exists():
        return
    written = _written(folder)
    if not written and (found := sorted(path.name for path in folder.iterdir())):
        raise ValueError(f"{folder}: holds what no export wrote ({_listed(found)}); give a new or an empty folder")
    kept = {name: folder / name for name in written if (folder / name).is_file()}
    if changed := [name for name, path in kept.items() if sha256(path) != written[name]]:
        raise ValueError(
            f"{folder}: changed since it was exported ({_listed(changed)}); move that away, or give a new folder"
        )


def _is_of_a_run(folder: Path) -> bool:
    """A checkpoint, or a folder of checkpoints."""
    if CHECKPOINT.fullmatch(folder.name):
        return True
    return folder.is_dir() and any(CHECKPOINT.fullmatch(each.name) for each in folder.glob("step-*"))


def _written(folder: Path) -> dict[str, str]:
    """What the export that lies there wrote; nothing where none does."""
    try:
        return _Record.model_validate_json((folder / RECORD).read_bytes()).files
    except (FileNotFoundError, ValidationError):
        return {}


def _replace(folder: Path, draft: Path) -> None:
    """File by file, the record last: the folder may be somebody's working directory, or a mount."""
    before, now = _written(folder), [name for name in _files(draft) if name != RECORD]
    if foreign := [name for name in now if name not in before and (folder / name).exists()]:
        raise ValueError(f"{folder}: holds what no export wrote ({_listed(foreign)}); move that away")
    for name in [*now, RECORD]:
        (folder / name).parent.mkdir(exist_ok=True)
        (draft / name).replace(folder / name)
    for name in before.keys() - set(now):
        (folder / name).unlink(missing_ok=True)


def _files(folder: Path) -> list[str]:
    """Paths in it of all that it holds, whatever the depth."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
