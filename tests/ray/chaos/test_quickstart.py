"""The quickstart, killed ten times and given again each time: it ends as the one that nobody disturbed."""

import contextlib
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from ordeal import AGAIN, PATIENCE_S, Driver, kill_all

from cogito_ray.records.ledger import NAME, LedgerFault, TrialEnded, events
from cogito_ray.records.results.trial_ranking import rank
from cogito_ray.records.sweep_record import Record, read

QUICKSTART = Path(__file__).parents[3] / "search_spaces" / "quickstart.yaml"
KILLS = 10
MEASURED_TIMES = "time/"
"""Metrics below this say how long things took, which no two runs share."""

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]


@dataclass(frozen=True)
class Quickstart:
    storage: Path
    concurrency: int

    @property
    def folder(self) -> Path:
        return self.storage / "quickstart"

    def start(self) -> Driver:
        """The command, as somebody gives it; what it says is in driver.log."""
        self.storage.mkdir(exist_ok=True)
        file = self.storage / "quickstart.yaml"
        file.write_text(yaml.safe_dump(yaml.safe_load(QUICKSTART.read_text()) | {"concurrency": self.concurrency}))
        command = [sys.executable, "-m", "cogito_ray", "sweep", str(file), "--storage", str(self.storage)]
        with (self.storage / "driver.log").open("ab") as said:
            return subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)

    def finish(self) -> Record:
        driver = self.start()
        try:
            assert driver.wait() == 0, self.said()
        finally:
            kill_all(driver)
        return read(self.folder / NAME)

    def kill_at(self, progress: int, *, after_s: float, alone: bool) -> None:
        """SIGKILL for the driver, alone or with all that it started, some time after so many reports are known."""
        driver = self.start()
        try:
            self._wait_for(progress, driver)
            time.sleep(after_s)
            driver.kill() if alone else kill_all(driver)
            driver.wait()
        finally:
            kill_all(driver)

    def _wait_for(self, progress: int, driver: Driver) -> None:
        changed, before = time.monotonic(), -1
        while (now := self.progress()) < progress:
            assert driver.poll() is None, self.said()
            if now != before:
                changed, before = time.monotonic(), now
            assert time.monotonic() < changed + PATIENCE_S, self.said()
            time.sleep(0.05)

    def progress(self) -> int:
        """Distinct reports so far."""
        with contextlib.suppress(FileNotFoundError, LedgerFault):
            return _reports(read(self.folder / NAME))
        return 0

    def said(self) -> str:
        """The end of what the command wrote."""
        return (self.storage / "driver.log").read_text()[-3000:]


def _reports(record: Record) -> int:
    return sum(len(trial.reports) for trial in record.trials.values())


def measured(record: Record) -> dict[str, dict[int, dict[str, float]]]:
    """Trial -> step -> every metric that is no clock reading."""
    return {
        name: {step: _without_times(report.metrics) for step, report in trial.reports.items()}
        for name, trial in record.trials.items()
    }


def _without_times(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.startswith(MEASURED_TIMES)}


def endings(record: Record) -> dict[str, tuple[str, int]]:
    return {name: (trial.status, trial.step) for name, trial in record.trials.items()}


def killed_ten_times(quickstart: Quickstart, reports: int, seed: int) -> Record:
    """At moments drawn over most of the sweep, the first of them before its first report. The last quarter is left out:
    with two trials at a time others may be tried, which take fewer reports than those of the undisturbed sweep."""
    draw = random.Random(seed)
    moments = [0, *sorted(draw.randrange(1, reports * 3 // 4) for _ in range(KILLS - 1))]
    for number, moment in enumerate(moments):
        # Where a kill lost the reports of a trial's last steps, they come again: progress never goes back.
        quickstart.kill_at(moment, after_s=draw.uniform(0, 20 if moment == 0 else 2), alone=bool(number % 2))
    return quickstart.finish()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[int, Record]:
    """By trials at a time."""
    return {at_once: Quickstart(tmp_path_factory.mktemp("undisturbed"), at_once).finish() for at_once in (1, 2)}


def test_a_quickstart_killed_ten_times_ends_with_the_trials_curves_and_winner_of_an_undisturbed_one(
    undisturbed, tmp_path, record_property
):
    twin = undisturbed[1]
    record = killed_ten_times(Quickstart(tmp_path, 1), _reports(twin), seed=0)
    assert list(record.trials) == list(twin.trials)
    assert endings(record) == endings(twin)
    assert measured(record) == measured(twin)
    assert [row.trial for row in rank(record).best] == [row.trial for row in rank(twin).best]
    record_property("fault", "the quickstart is killed ten times")
    record_property("outcome", AGAIN)


def test_of_two_trials_at_a_time_none_is_lost_or_run_twice_and_curves_that_both_ran_are_equal(
    undisturbed, tmp_path, record_property
):
    twin = undisturbed[2]
    quickstart = Quickstart(tmp_path, 2)
    record = killed_ten_times(quickstart, _reports(twin), seed=1)
    ended = Counter(event.trial for event in events(quickstart.folder / NAME) if isinstance(event, TrialEnded))
    assert len(record.trials) == len(twin.trials)
    assert ended == Counter(dict.fromkeys([*record.trials, *record.variants], 1))
    here, there = measured(record), measured(twin)
    shared = here.keys() & there.keys()
    assert shared
    for name in shared:
        steps = here[name].keys() & there[name].keys()
        assert {step: here[name][step] for step in steps} == {step: there[name][step] for step in steps}
    record_property("fault", "the quickstart is killed ten times, with two trials at a time")
    record_property("outcome", AGAIN)
