"""The files of a dataset of the Hugging Face hub, by name, or of a local folder in the hub's layout.

Which files belong to a config and a split is what the dataset's README.md declares, else what folders and file names
say (https://huggingface.co/docs/hub/datasets-data-files-configuration).
"""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

import pyarrow as pa
import yaml
from fsspec.utils import glob_translate
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cogito_ray.base_spec import Spec
from cogito_ray.text.sources.documents import LARGEST_PART, Part, Weight
from cogito_ray.text.sources.file_formats import RECORDS, is_data, lacking, parts_of_files
from cogito_ray.text.sources.filesystem_access import File, fingerprints_of, list_files, relative

COMMIT = re.compile(r"[0-9a-f]{40}")
FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---", re.DOTALL)
SPLIT_NAME = re.compile(r"(?:.*/)?(?:partial-)?(train|training|validation|valid|val|dev|test|testing)[-_./0-9].*")
SPLITS = {"training": "train", "valid": "validation", "val": "validation", "dev": "validation", "testing": "test"}
"""Other spellings of the splits' names."""
CONVERTED = "refs/convert/parquet"
Value = TypeVar("Value")


class NoSuchData(ValueError):
    """`field: fault`: a config or split that the dataset does not have."""


class HubSpec(Spec):
    """A data set of the Hugging Face hub, or a local folder laid out like one, read as files of one commit: Parquet, or
    the other formats of `files` where the dataset's card names them or there is no Parquet."""

    kind: Literal["hub"] = "hub"
    name: str = Field(min_length=1)
    """`owner/name` on the hub, or a local folder: a copy, or `datasets--owner--name` of the hub's cache."""
    config: str | None = None
    """One of those the dataset declares, or a folder of it; unset: its default."""
    split: str = "train"
    column: str = "text"
    """Field that holds a document's text."""
    revision: str | None = None
    """Branch, tag or commit; unset: the main branch as it is when prepared."""
    weight: Weight = 1.0
    """Share of the rows drawn from this source, relative to the other sources; size: in proportion to its rows."""

    def faults(self) -> list[str]:
        """What is wrong with the name, config, split or column, found without reading documents."""
        try:
            return lacking(self.files, self.column)
        except NoSuchData as error:
            return [str(error)]
        except (OSError, ValueError, pa.ArrowException) as error:
            return [f"name: {self.name!r} cannot be listed ({error}); give a dataset's name or a local folder"]

    def fingerprint(self) -> dict[str, object]:
        """The commit on the hub, or what the local folder holds."""
        chosen: dict[str, object] = {"config": self.config, "split": self.split, "column": self.column}
        if self._is_local:
            return chosen | {"files": fingerprints_of(self.files)}
        return chosen | {"name": self.name, "commit": self.commit}

    def left_out(self) -> str:
        """Nothing: which files are another split's or no documents, the dataset says."""
        return ""

    def is_gathered(self, scratch: Path) -> bool:
        """Tasks read the files where they are: nothing is stored twice."""
        return True

    def gather(self, scratch: Path) -> None:
        """Nothing to do."""

    def parts(self, scratch: Path, largest: int = LARGEST_PART) -> list[Part]:
        """How independent tasks share the reading: runs of row groups; `largest`: bytes of text in a part, about."""
        return parts_of_files(self.files, self.column, largest)

    def places(self, scratch: Path) -> set[str]:
        """Where the files of its parts lie now."""
        return {file.path for file in self.files}

    @cached_property
    def commit(self) -> str:
        """What the revision stands for now: asked once, so that every file is of the same commit. OSError."""
        if self.revision is not None and COMMIT.fullmatch(self.revision):
            return self.revision
        from huggingface_hub import HfApi  # costs half a second: only for names
        from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # that of its own client

        try:
            return str(HfApi().dataset_info(self.name, revision=self.revision).sha)
        except HTTPError as fault:  # of a hub that cannot be reached; not an OSError by itself
            raise ConnectionError(f"the hub was asked for its commit: {fault}") from fault

    @cached_property
    def files(self) -> list[File]:
        """The files of the config and split, by name. NoSuchData, OSError."""
        root = str(self._local_folder) if self._is_local else f"hf://datasets/{self.name}@{self.commit}"
        every = {relative(file): file for file in list_files(root)}
        data = [path for path, file in every.items() if is_data(file)]
        records = [path for path in data if every[path].ending in RECORDS]
        if not records:
            raise NoSuchData(
                f"name: {self.name!r} holds no {', '.join(RECORDS)} at this revision; the hub keeps a converted copy "
                f"of most datasets at revision: {CONVERTED}"
            )
        try:
            declared = _declared(every["README.md"]) if "README.md" in every else {}
        except (yaml.YAMLError, UnicodeError, ValidationError) as fault:
            said = " ".join(str(fault).split())
            raise NoSuchData(
                f"name: the README.md of {self.name!r} does not say in YAML which files there are ({said}); mend it "
                f"there, or use the hub's converted copy, revision: {CONVERTED}"
            ) from fault
        parquet = [path for path in records if path.endswith(".parquet")]
        by_split = _by_readme(declared, self.config, data) if declared else _by_path(self.config, parquet or records)
        return [every[path] for path in _one_of(by_split, self.split, "split", self.name)]

    @property
    def _is_local(self) -> bool:
        return Path(self.name).is_dir()

    @property
    def _local_folder(self) -> Path:
        """In a cache of the hub, the snapshot that the revision names there."""
        folder, revision = Path(self.name).absolute(), self.revision or "main"
        named = folder / "refs" / revision
        commit = named.read_text().strip() if named.is_file() else revision
        return folder / "snapshots" / commit if (folder / "snapshots").is_dir() else folder


class _Named(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)


class _Files(_Named):
    split: str
    path: str | list[str]


class _Config(_Named):
    config_name: str = "default"
    default: bool = False
    data_files: str | _Files | list[str | _Files] | None = None


class _Card(BaseModel):
    """What the front matter of a dataset's README.md says of its files."""

    configs: list[_Config] = []


def _declared(readme: File) -> dict[str, _Config]:
    """Configs by name. YAMLError, UnicodeError, ValidationError."""
    with readme.open() as stream:
        found = FRONT_MATTER.match(stream.read().decode())
    card = _Card.model_validate((yaml.safe_load(found[1]) if found else None) or {})
    return {config.config_name: config for config in card.configs if config.data_files is not None}


def _by_readme(declared: dict[str, _Config], config: str | None, files: list[str]) -> dict[str, list[str]]:
    defaults = [name for name, one in declared.items() if one.default or name == "default"]
    chosen = _one_of(declared, config or next(iter(defaults), _only(declared)), "config", "the dataset")
    by_split: dict[str, list[str]] = {}
    for split, pattern in _patterns(chosen):
        matches = re.compile(glob_translate(pattern.removeprefix("./"))).fullmatch
        by_split.setdefault(split, []).extend(path for path in files if matches(path))
    return {split: paths for split, paths in by_split.items() if paths}


def _patterns(config: _Config) -> Iterator[tuple[str, str]]:
    """(split, glob) pairs; files without a split are for training."""
    given = config.data_files or []
    for entry in given if isinstance(given, list) else [given]:
        one = _Files(split="train", path=entry) if isinstance(entry, str) else entry
        yield from ((one.split, path) for path in ([one.path] if isinstance(one.path, str) else one.path))


def _by_path(config: str | None, files: list[str]) -> dict[str, list[str]]:
    """Files by the split that their path names; where none does, all are for training."""
    folders: dict[str, list[str]] = {}
    for path in files:
        folders.setdefault(_config_of(path), []).append(path)
    by_split: dict[str, list[str]] = {}
    for path in _one_of(folders, config or _only(folders), "config", "the dataset"):
        named = SPLIT_NAME.fullmatch(path)
        by_split.setdefault(SPLITS.get(named[1], named[1]) if named else "train", []).append(path)
    return by_split


def _config_of(path: str) -> str:
    """The folders that tell configs apart: `data` and those of splits left out."""
    folders = PurePosixPath(path).parts[:-1]
    return "/".join(part for part in folders if part != "data" and not SPLIT_NAME.fullmatch(part + "/")) or "default"


def _only(found: Mapping[str, object]) -> str | None:
    return next(iter(found)) if len(found) == 1 else None


def _one_of(found: Mapping[str, Value], name: str | None, field: str, owner: str) -> Value:
    if name is None or name not in found:
        given = f"{name!r} is not among" if name else "none is given of"
        raise NoSuchData(f"{field}: {given} those of {owner}: {', '.join(sorted(found))}")
    return found[name]
