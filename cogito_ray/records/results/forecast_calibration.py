"""How far forecasts of full runs can be trusted, told from the ledgers that sealed and scored them."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median

from cogito_ray.records.ledger import ForecastScored, ForecastSealed
from cogito_ray.records.results.trial_ranking import figures
from cogito_ray.records.sweep_record import Record


@dataclass(frozen=True)
class JudgedForecast:
    """A forecast of one full run in one goal, and what became of it."""

    sealed: ForecastSealed
    number: int
    """Of the trial from which the full run is derived."""
    score: ForecastScored | None
    """None while the full run has not ended."""

    @property
    def foretold(self) -> str:
        """The value with its interval, or why there is none."""
        told = self.sealed
        if told.value is None:
            return f"not to be foretold: {told.law}"
        return f"{figures(told.value)} ({figures(told.low)} to {figures(told.high)})" + self._doubt(told.low, told.high)

    def _doubt(self, low: float | None, high: float | None) -> str:
        """Whether the interval is too wide to decide with: it holds what the largest rung reached already."""
        largest = max(self.sealed.ladder, key=lambda rung: rung.parameters * rung.tokens, default=None)
        if largest is None or low is None or high is None or not low <= largest.value <= high:
            return ""
        sizes = (self.sealed.parameters, largest.parameters), (self.sealed.tokens, largest.tokens)
        parameters, tokens = (f"{math.sqrt(full * rung):.2g}" for full, rung in sizes)
        return (
            f", a ladder too short to trust: its largest rung's {figures(largest.value)} is in that interval, too; add "
            f"rungs of up to {parameters} parameters and {tokens} tokens"
        )

    @property
    def verdict(self) -> str:
        """What became of it."""
        if not self.sealed.is_intact:
            return "was changed after it was sealed: it counts for nothing"
        if self.score is None:
            return ""
        where = "inside" if self.score.inside else "outside the interval"
        return f"reached {figures(self.score.value)}: {self.score.error:+.1%}, {where}"

    @property
    def missed(self) -> bool:
        """Did the run end outside the interval? Then nobody should go on before it is known why."""
        return self.sealed.is_intact and self.score is not None and not self.score.inside

    @property
    def differs(self) -> str:
        """Where it missed, how the full run differs from the ladder."""
        if not self.missed or self.score is None:
            return ""
        if not self.score.differs:
            return "differs from its ladder in nothing but what that varies: the law does not reach so far; add rungs"
        return f"differs from its ladder, beside what that varies, in {'; '.join(self.score.differs)}"

    @property
    def text(self) -> str:
        """All of it, in a line."""
        became = "".join(f"; {part}" for part in (self.verdict, self.differs) if part)
        return f"trial {self.number} at full size ({self.sealed.run}), {self.sealed.goal}: {self.foretold}{became}"


def judged(record: Record) -> list[JudgedForecast]:
    """Every forecast of a sweep, in the order in which they were sealed."""
    return [
        JudgedForecast(sealed, record.trials[sealed.trial].number, record.scores.get(key))
        for key, sealed in record.forecasts.items()
    ]


@dataclass(frozen=True)
class Calibration:
    """Of all forecasts whose full runs have ended."""

    count: int
    inside: int
    error: float
    """Median of how far they were off, without sign, as a share of what was reached."""

    @property
    def text(self) -> str:
        """In a sentence."""
        return (
            f"{self.inside} of {self.count} forecasts of full runs held within their intervals, which should hold nine "
            f"in ten; half of them were off by {self.error:.1%} or less"
        )


def calibration(records: Iterable[Record]) -> Calibration | None:
    """None where nothing was judged yet."""
    scores = list(_scores(records))
    if not scores:
        return None
    return Calibration(len(scores), sum(score.inside for score in scores), median(abs(one.error) for one in scores))


def _scores(records: Iterable[Record]) -> Iterator[ForecastScored]:
    for record in records:
        yield from (one.score for one in judged(record) if one.score is not None and one.sealed.is_intact)
