"""A plan's ledger, and where readers of a storage find the plan: status, notebook and live page."""

import json
import threading
from urllib.request import urlopen

import pytest
from typer.testing import CliRunner

from cogito_ray.cli import app
from cogito_ray.control.live_server import LiveServer
from cogito_ray.records.ledger import Ledger, PhaseEnded, PhaseStarted, PlanOpened
from cogito_ray.records.notebook.notebook_page import read
from cogito_ray.records.plan_record import NAME, found

WHY = "mlm.loss/total < 2: does not hold (mlm: loss/total 3)"


@pytest.fixture
def storage(tmp_path):
    """With one plan, whose gate did not hold and whose last phase waits."""
    phases = {"mlm": {"kind": "run"}, "more": {"kind": "run", "if": "mlm.loss/total < 2"}, "last": {"kind": "run"}}
    with Ledger(tmp_path / "road" / NAME) as ledger:
        ledger.append(PlanOpened(at=0, spec={"name": "road", "question": "Is <it> true?", "phases": phases}))
        ledger.append(PhaseStarted(at=0, phase="mlm", work={}, command=(), folder=""))
        ledger.append(PhaseEnded(at=1, phase="mlm", state="complete", figures={"": {"loss/total": 3.0}}))
        ledger.append(PhaseEnded(at=1, phase="more", state="refused", why=WHY))
    return tmp_path


def test_a_plan_is_found_by_its_folder_and_by_its_name(storage):
    by_name, by_folder = (found(storage, named) for named in ("road", storage / "road"))
    assert list(by_name) == list(by_folder) == list(found(storage)) == [storage / "road"]
    assert found(storage, "rode") == {}


def test_status_prints_the_tree_of_a_plan_and_one_line_among_others(storage):
    def status(*arguments):
        return CliRunner().invoke(app, ["status", *arguments, "--storage", str(storage)]).output

    tree = status("road").splitlines()
    assert tree[1:3] == ["✓ mlm (run): complete", "    loss/total 3"]
    assert "    ⊘ more (run): refused" in tree
    assert "3 phases: 1 complete, 1 refused, 1 waiting" in " ".join(status().split())
    [told] = json.loads(status("--json"))
    assert told["phases"] == {"mlm": "complete", "more": "refused", "last": "waiting"}


def test_the_notebook_has_an_entry_of_a_plan_beside_one_that_is_damaged(storage):
    (storage / "torn").mkdir()
    (storage / "torn" / NAME).write_text('{"event": "dance"}\n')
    rows = {row.cells["run"]: row.cells for row in read([storage])[0]}
    assert rows["torn"]["conclusion"].startswith("cannot be read: ")
    assert rows["road"]["question"] == "Is <it> true?"
    said = "a plan of 3 phases: 1 complete, 1 refused, 1 waiting\nunder way, or its driver was killed"
    assert rows["road"]["conclusion"] == said


def test_the_live_page_lists_a_plan_and_shows_its_tree(storage):
    with LiveServer(storage, port=0, token=None) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        [listed] = json.loads(server.overview())["runs"]
        with urlopen(f"http://127.0.0.1:{server.server_address[1]}/road/", timeout=10) as answer:
            page = answer.read().decode()
        server.shutdown()
    assert (listed["name"], listed["lines"]) == ("road", ["3 phases: 1 complete, 1 refused, 1 waiting"])
    assert "⊘ more (run): refused" in page
    assert "Is &lt;it&gt; true?" in page
