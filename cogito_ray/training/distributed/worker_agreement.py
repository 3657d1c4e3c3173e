"""What the workers of a run decide and do together, so that none goes on alone while the others wait for it for ever.

Where one of them fails, all fail, with a message that says which one and why. Each of these is a collective operation:
all workers call it, in the same order.
"""

from collections.abc import Callable
from typing import TypeVar, cast

from accelerate.state import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from cogito_ray.training.hang_watchdog import Stage, WorkerProgress

T = TypeVar("T")
FAULTS = (OSError, ValueError, RuntimeError)
"""What files, filesystems and weights that do not fit are at fault for. Anything else ends a worker on the spot."""


class WorkerFailed(RuntimeError):
    """Raised by all workers of a run when some of them failed. A run of one worker raises what went wrong itself."""


class WorkerAgreement:
    """Among the workers of the run that this process trains; `progress` is told when it waits for the others."""

    def __init__(self, progress: WorkerProgress):
        self._progress, self._place = progress, PartialState()

    def decide_on_first(self, decide: Callable[[], T]) -> T:
        """What the first worker found, on every worker; the others are not asked."""
        answer, fault = self._tried(decide) if self._place.is_main_process else (None, None)
        self._progress.enter(Stage.AGREEMENT)
        [answer, said] = broadcast_object_list([answer, self._said(fault)])
        self._raise(fault, [said])
        return cast(T, answer)

    def run_on_all(self, do: Callable[[], T]) -> T:
        """What this worker's own call gave, once every worker is through with its own."""
        answer, fault = self._tried(do)
        self._progress.enter(Stage.AGREEMENT)
        self._raise(fault, gather_object([self._said(fault)]))
        return cast(T, answer)

    def _tried(self, call: Callable[[], T]) -> tuple[T | None, Exception | None]:
        try:
            return call(), None
        except FAULTS as fault:
            return None, fault

    def _said(self, fault: Exception | None) -> str | None:
        if fault is None:
            return None
        return f"worker {self._place.process_index} of {self._place.num_processes}: {fault}"

    def _raise(self, fault: Exception | None, said: list[str | None]) -> None:
        if fault is not None and self._place.num_processes == 1:
            raise fault
        if faults := [line for line in said if line is not None]:
            raise WorkerFailed("\n".join(faults)) from fault
