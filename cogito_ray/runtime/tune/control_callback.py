"""Answers what is asked of a sweep while it runs: first on record, then obeyed."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from cogito_ray.records.control_requests import (
    ChangeBudget,
    ControlRequest,
    PauseSweep,
    ResumeSweep,
    SetConcurrency,
    SweepLimits,
)
from cogito_ray.records.ledger import Controlled, Event
from cogito_ray.runtime.control_channel import Asked, ControlChannel
from cogito_ray.runtime.control_files import lower_flag, raise_flag
from cogito_ray.runtime.tune.budget_callback import BudgetCallback
from cogito_ray.runtime.tune.tune_adapters import Stage

LOOKS_EVERY_S = 1.0


class ControlCallback(Callback):
    """Looks for requests once a second, however many trials there are."""

    def __init__(
        self,
        channel: ControlChannel,
        append: Callable[[Event], None],
        stage: Stage,
        limits: SweepLimits,
        budget: BudgetCallback,
        preempt: Path,
        *,
        answered: set[str],
        refuse_many: Callable[[int], object],
    ):
        """`preempt`: while this flag is raised, trials leave. `answered`: ids of requests that the ledger has.
        `refuse_many`: raises ValueError for more trials at a time than there is room for."""
        self._channel, self._append, self._stage, self._limits = channel, append, stage, limits
        self._budget, self._preempt, self._answered, self._refuse_many = budget, preempt, answered, refuse_many
        self._looked = 0.0

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Tune's own loop."""
        self.look()

    def look(self) -> bool:
        """Answer what was asked since. Was anything granted?"""
        if time.monotonic() - self._looked < LOOKS_EVERY_S:
            return False
        self._looked, granted = time.monotonic(), False
        for asked in self._channel.received():
            if asked.id not in self._answered:    # by a driver that died before it could remove it
                granted = self._answer(asked) or granted
            self._channel.remove(asked)
        return granted

    def wait(self, *, held: bool) -> None:
        """While the sweep is paused; where all that is left is `held`, until something is granted. Without Tune, which
        would wait in a loop that hears nobody."""
        granted = False
        while not self._budget.exhausted and (self._limits.is_paused or (held and not granted)):
            time.sleep(LOOKS_EVERY_S)
            granted = self.look() or granted
            self._budget.look()

    def _answer(self, asked: Asked) -> bool:
        try:
            outcome, accepted = self._considered(asked.request), True
        except ValueError as refused:
            outcome, accepted = str(refused), False
        event = Controlled(
            at=time.time(), id=asked.id, by=asked.by, request=asked.request, accepted=accepted, outcome=outcome
        )
        self._append(event)
        self._answered.add(asked.id)
        if accepted:
            self._limits.apply(asked.request)
            self._stage.controlled(event)
            if self._limits.budget is not None:
                self._budget.change(self._limits.budget)
            if self._limits.is_paused:
                raise_flag(self._preempt)
            elif not self._budget.exhausted:
                lower_flag(self._preempt)
        return accepted

    def _considered(self, request: ControlRequest) -> str:
        """What comes of it. ValueError where nothing can."""
        match request:
            case PauseSweep() if not self._limits.is_paused:
                return "trials leave a checkpoint at their next report, and none starts until the sweep is resumed"
            case ResumeSweep() if self._limits.is_paused:
                return "trials go on"
            case PauseSweep() | ResumeSweep():
                raise ValueError(f"the sweep is {'paused' if self._limits.is_paused else 'not paused'}")
            case SetConcurrency():
                self._refuse_many(request.trials)
                return f"{request.trials} trials at a time, once those under way beyond that are over"
            case ChangeBudget() if self._limits.budget is not None:
                if self._budget.exhausted:
                    raise ValueError(f"too late: {self._budget.exhausted}, and trials leave")
                changed = self._limits.budget.changed(request.changes)
                return f"the budget is {changed.model_dump_json(exclude_none=True)} now"
            case _:
                return self._stage.consider(request)
