"""Ends a process that makes no progress, and says where it stood: nothing hangs without a word.

A thread looks at what the training loop says it is doing. Time is counted in the thread's own ticks, so that a process
that was suspended as a whole is not blamed for it. Where the interpreter itself is stuck, and this thread with it, a
timer of the C library ends the process and leaves the traceback in its log.
"""

import faulthandler
import logging
import os
import threading
from collections.abc import Callable
from enum import Enum
from typing import Self

log = logging.getLogger(__name__)
EXIT_STATUS = 75
"""Of a process that ended itself: try again (sysexits.h)."""
PATIENCE_FACTOR = 1.25
"""A worker that waits for others gives them this much longer, so that the one at fault is the one that is named."""
MESSAGE_TIMEOUT_S = 10.0
"""For saying so; the disk may be what is stuck."""


class Stage(Enum):
    """What a worker is doing, and whether it may be waiting for other workers."""

    STARTING = "starting", False
    DATA = "waiting for data", False
    STEP = "forward and backward pass", True
    AGREEMENT = "waiting for the other workers", True
    EVALUATION = "evaluation", False
    CHECKPOINT = "checkpoint", False
    REPORT = "report", True

    def __init__(self, text: str, waits: bool):
        self.text, self.waits = text, waits


class WorkerProgress:
    """What one worker is doing now, and what its next report must mention."""

    def __init__(self) -> None:
        self.stage, self.step, self.heartbeats = Stage.STARTING, 0, 0
        self._notes: list[str] = []

    def note(self, text: str) -> None:
        """Something happened that the record of the run should show."""
        log.warning(text)
        self._notes.append(text)

    def notes(self) -> tuple[str, ...]:
        """What was noted since this was asked last."""
        noted, self._notes = tuple(self._notes), []
        return noted

    def enter(self, stage: Stage, step: int | None = None) -> None:
        """It makes progress: a stage begins."""
        self.stage, self.heartbeats = stage, self.heartbeats + 1
        self.step = self.step if step is None else step


class Watchdog:
    """While this context lasts, ends the process when `progress` stands still for `patience_s` seconds (None: never).

    `on_stall` is given the message, in a thread of its own, because the disk may be what is stuck.
    """

    def __init__(
        self,
        progress: WorkerProgress,
        *,
        patience_s: float | None,
        rank: int,
        on_stall: Callable[[str], None] = log.error,
    ):
        self._progress, self._patience, self._rank, self._on_stall = progress, patience_s, rank, on_stall
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._guard, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        if self._patience is not None:
            self._rearm(self._patience)
            self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        if self._patience is not None:
            self._over.set()
            self._thread.join()
            faulthandler.cancel_dump_traceback_later()

    def _guard(self) -> None:
        assert self._patience is not None
        tick = min(1.0, self._patience / 10)
        heartbeats, idle = self._progress.heartbeats, 0.0
        while not self._over.wait(tick):
            self._rearm(self._patience)
            moved = self._progress.heartbeats != heartbeats
            heartbeats, idle = self._progress.heartbeats, 0.0 if moved else idle + tick
            limit = self._patience * (PATIENCE_FACTOR if self._progress.stage.waits else 1.0)
            if idle >= limit:
                self._end(limit)

    @staticmethod
    def _rearm(patience: float) -> None:
        faulthandler.dump_traceback_later(2 * PATIENCE_FACTOR * patience, exit=True, file=2)

    def _end(self, idle: float) -> None:
        step, doing = self._progress.step, self._progress.stage.text
        message = f"worker {self._rank} made no progress for {idle:g} s after step {step}: {doing}"
        assert self._patience is not None
        self._rearm(self._patience + MESSAGE_TIMEOUT_S)             # or that timer would cut the words short
        faulthandler.dump_traceback(file=2)
        reporting = threading.Thread(target=self._on_stall, args=(message,), daemon=True)
        reporting.start()
        reporting.join(MESSAGE_TIMEOUT_S)
        os._exit(EXIT_STATUS)
