"""Why a run is dead: each guard looks at one report and ends the run with a named cause and the numbers behind it."""

import math
from collections.abc import Mapping


class RunDied(RuntimeError):
    """A run that cannot recover. `cause` is one word for the record, `numbers` what was seen."""

    def __init__(self, cause: str, step: int, numbers: Mapping[str, float]):
        seen = ", ".join(f"{name}={value:g}" for name, value in numbers.items())
        super().__init__(f"{cause} at step {step}: {seen}")
        self.cause, self.step, self.numbers = cause, step, dict(numbers)

    def __reduce__(self) -> tuple[type["RunDied"], tuple[str, int, dict[str, float]]]:
        return RunDied, (self.cause, self.step, self.numbers)  # exceptions cross process borders by their arguments


def check_finite(step: int, metrics: Mapping[str, float]) -> None:
    """Raise RunDied if any metric is NaN or infinite."""
    broken = {name: value for name, value in metrics.items() if not math.isfinite(value)}
    if broken:
        raise RunDied("non-finite", step, broken)
