"""Copies of a run's checkpoints on a filesystem that pyarrow opens by URL: s3://, gs://, file://, fsspec+...://.

A checkpoint there is whole once the file that is sent last has arrived.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

CHUNK = 16 * 2**20
"""Bytes held in memory at a time."""


class Remote:
    """Folders of one run below a URL."""

    def __init__(self, url: str, run_digest: str):
        self._url, self._run = url, run_digest

    @cached_property
    def _root(self) -> tuple[Any, str]:
        """The filesystem, and the run's folder there. It is opened when it is first needed."""
        from pyarrow.fs import FileSystem

        system, path = FileSystem.from_uri(self._url)
        return system, f"{path.rstrip('/')}/{self._run}"

    def put(self, folder: Path, *, last: str) -> None:
        """Copy a folder, one of its files last. OSError where that fails."""
        system, root = self._root
        target = f"{root}/{folder.name}"
        if folder.name in {info.base_name for info in self._below(root)}:
            system.delete_dir(target)
        system.create_dir(target, recursive=True)
        for file in sorted(folder.iterdir(), key=lambda file: file.name == last):
            with file.open("rb") as source, system.open_output_stream(f"{target}/{file.name}") as sink:
                while block := source.read(CHUNK):
                    sink.write(block)

    def get(self, name: str, target: Path) -> None:
        """Copy a folder's files into `target`, which exists."""
        system, root = self._root
        for info in self._below(f"{root}/{name}"):
            with system.open_input_stream(info.path) as source, (target / info.base_name).open("wb") as sink:
                while block := source.read(CHUNK):
                    sink.write(block)

    def whole(self, last: str) -> list[str]:
        """Names of the folders whose last file has arrived."""
        _, root = self._root
        names = [info.base_name for info in self._below(root)]
        return sorted(name for name in names if any(f.base_name == last for f in self._below(f"{root}/{name}")))

    def keep(self, names: set[str]) -> None:
        """Delete all other folders."""
        system, root = self._root
        for info in self._below(root):
            if info.base_name not in names:
                system.delete_dir(info.path)

    def _below(self, path: str) -> list[Any]:
        from pyarrow.fs import FileSelector

        found: list[Any] = self._root[0].get_file_info(FileSelector(path, allow_not_found=True))
        return found
