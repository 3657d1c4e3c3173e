"""Calls the command of a sweep's `notify` when a guard ends a trial, when a gate holds, and when the sweep ends.

It may do anything and take its time: it runs beside the driver, and what goes wrong with it is a note in the ledger.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from cogito_ray.records.ledger import Event, Notified

PATIENCE_S = 60.0
"""For a command; then it is killed."""
SAID = 300
"""Characters of what a command that failed wrote to its standard error."""


class Notifier(Callback):
    """One thread a call, so that nobody waits for a command but `settle`."""

    def __init__(self, command: str | None, folder: Path, append: Callable[[Event], None]):
        """`command`: for the shell; None = none."""
        self._command, self._folder, self._append = command, folder, append
        self._under_way: list[threading.Thread] = []

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles it."""
        return {}

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A guard's verdict is the last that a trial says."""
        if cause := (trial.last_result or {}).get("died"):
            self.tell("guard", f"trial {trial.config['number']}: {cause}", trial=trial.config["trial"])

    def tell(self, occasion: str, text: str, *, trial: str = "") -> None:
        """Call the command, with this in its environment."""
        if self._command is None:
            return
        told = {"OCCASION": occasion, "TEXT": text, "TRIAL": trial, "FOLDER": str(self._folder)}
        named = {f"COGITO_{name}": value for name, value in (told | {"SWEEP": self._folder.name}).items()}
        thread = threading.Thread(target=self._call, args=(self._command, occasion, named), daemon=True)
        thread.start()
        self._under_way.append(thread)

    def settle(self) -> None:
        """Wait for what is under way."""
        for thread in self._under_way:
            thread.join()

    def _call(self, command: str, occasion: str, told: dict[str, str]) -> None:
        fault = ""
        with subprocess.Popen(  # noqa: S602  (SECURITY.md: `notify` is a command)
            command,
            shell=True,
            env=os.environ | told,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        ) as process:
            try:
                _, said = process.communicate(timeout=PATIENCE_S)
                fault = f"exit status {process.returncode}: {said[-SAID:]}" if process.returncode else ""
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                fault = f"took longer than {PATIENCE_S:g} s and was killed"
        self._append(Notified(at=time.time(), occasion=occasion, fault=fault))
