"""What the processes of a sweep or run print: a file in its folder, of bounded size, and its end for who watches."""

import json
import logging
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from cogito_ray.atomic_files import open_to_append

PROCESS_LOG = "processes.log"
MOST_BYTES = 4 * 2**20
"""Of the file, and of what stood in it before, beside it in `processes.log.1`."""
SHOWN_BYTES = 2**16
"""Most that is sent at a time; what is older is left out."""


class ProcessLog(RotatingFileHandler):
    """Writes the file: each line with its time and who printed it. A full disk costs lines, and nothing else."""

    def __init__(self, folder: Path):
        super().__init__(folder / PROCESS_LOG, maxBytes=MOST_BYTES, backupCount=1, delay=True, errors="replace")
        self.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S"))

    def write(self, who: str, lines: list[str]) -> None:
        """What a process has printed."""
        for line in lines:
            self.handle(logging.makeLogRecord({"name": who, "msg": line}))

    def _open(self) -> TextIOWrapper:
        return open(open_to_append(Path(self.baseFilename)), "a", encoding="utf-8", errors="replace")

    def handleError(self, record: logging.LogRecord) -> None:
        """Not said, for it would be said for every line."""


class Tail:
    """The end of the file, as one browser comes to see it."""

    def __init__(self, folder: Path):
        self._file, self._at, self._told = folder / PROCESS_LOG, 0, "{}"

    def told(self) -> str:
        """What is new, in whole lines, and whether it goes on from what was told before, as JSON; else that again."""
        size = self._file.stat().st_size if self._file.exists() else 0
        goes_on = 0 < self._at <= size <= self._at + SHOWN_BYTES    # else the file began anew, or grew by more
        if size != self._at:
            start = self._at if goes_on else max(0, size - SHOWN_BYTES)
            with self._file.open("rb") as file:
                file.seek(start)
                read = file.read(size - start)
            first = 0 if goes_on or start == 0 else read.find(b"\n") + 1
            text, self._at = read[first : read.rfind(b"\n") + 1].decode(errors="replace"), start + read.rfind(b"\n") + 1
            self._told = json.dumps({"at": self._at, "goes_on": goes_on, "text": text})
        return self._told
