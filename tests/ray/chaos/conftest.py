"""The run that all faults befall, what it comes to undisturbed, and the table at the end.

Seconds lost: the longest time, from the strike on, in which no step further was reported; with a command that was given
again, if there was one.
"""

import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from corpora import tiny_run
from ordeal import AGAIN, BY_ITSELF, Fault, Ordeal, bare_result, step_for

from cogito_ray.run_spec import RunSpec
from cogito_ray.runtime.verification.fault_injection import Drill, Result
from cogito_ray.text.preparation_plan import prepare_with, serially

TABLE = Path("build") / "chaos.md"
HEAD = "| fault | tries | outcome | seconds lost |\n|---|---|---|---|\n"


@pytest.fixture(scope="session")
def storage(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("chaos")


@pytest.fixture(scope="session")
def base(storage) -> RunSpec:
    """200 steps on prepared text: long enough to be struck in its middle."""
    tree = tiny_run(storage)
    tree["training"] |= {"steps": 200, "micro_batch": 4, "report_every": 10, "checkpoint_every": 20}
    tree["evaluation"]["word_probes"] = None
    run = RunSpec.model_validate(tree)
    prepare_with(serially, run.data, storage)
    return run


@pytest.fixture(scope="session")
def bare(base, storage) -> Result:
    """Of one undisturbed process. Two workers share its batch by halves, and two addends have but one order of sum."""
    return bare_result(base, storage)


@pytest.fixture
def befall(base, storage, tmp_path, record_property) -> Callable[..., Result]:
    """Strikes a run as a fault says and sees it to its end: what it came to."""

    def see(name: str, fault: Fault, seed: int, *, below: Path | None = None, **environment: str) -> Result:
        run = RunSpec.model_validate(base.model_dump() | fault.changed)
        ordeal = Ordeal(Drill(run, tmp_path.name, below or storage), environment)
        record_property("fault", name)
        status = ordeal.suffer(fault.strike, at=step_for(name, seed, run) if fault.at is None else fault.at)
        assert (status == 0) is fault.survived, ordeal.said()
        result = ordeal.drill.result() if fault.survived else ordeal.finish()
        record_property("outcome", BY_ITSELF if fault.survived else AGAIN)
        record_property("lost", ordeal.lost_s)
        return result

    return see


@pytest.fixture
def own_storage(base, storage, tmp_path) -> Path:
    """A copy of the prepared text, to damage."""
    for part in ("tokens", "tokenizers", "corpora"):
        shutil.copytree(storage / part, tmp_path / part)
    return tmp_path


def pytest_terminal_summary(terminalreporter) -> None:
    """Writes the table, and shows it."""
    tries = defaultdict(list)
    for status in ("passed", "failed"):
        for report in terminalreporter.getreports(status):
            told = dict(report.user_properties)
            if report.when == "call" and "fault" in told:
                tries[told["fault"]].append(told | {"passed": report.passed})
    if tries:
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(HEAD + "".join(_row(fault, told) for fault, told in tries.items()))
        terminalreporter.write_line(TABLE.read_text())


def _row(fault: str, tries: list[dict[str, object]]) -> str:
    outcomes = sorted({told["outcome"] if told["passed"] else "FAILED" for told in tries})
    lost = sorted(told["lost"] for told in tries if told.get("lost") is not None)
    seconds = ", ".join(f"{each:.0f}" for each in lost)
    return f"| {fault} | {len(tries)} | {', '.join(outcomes)} | {seconds} |\n"
