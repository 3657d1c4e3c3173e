"""The live page of a storage: what it serves to whom, and what a real browser makes of it."""

import asyncio
import json
import shutil
import subprocess
import threading
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from cogito_ray.control import live_server
from cogito_ray.control.live_server import LiveServer
from cogito_ray.records import process_log
from cogito_ray.records.file_locks import hold
from cogito_ray.records.ledger import (
    NAME,
    Controlled,
    Ledger,
    Linked,
    Reported,
    SweepClosed,
    SweepOpened,
    TrialEnded,
    TrialStarted,
)
from cogito_ray.records.process_log import ProcessLog
from cogito_ray.records.provenance import Provenance
from cogito_ray.runtime.control_channel import DRIVER, ControlChannel

NATS = "eval/reconstruction_nats"
TOKEN = "secret"
NASTY = "<img src=x onerror=alert(1)>"


class Sweep:
    """One that runs, as far as its folder tells: two trials, of which one is over."""

    def __init__(self, folder):
        self.folder = folder
        origin = Provenance(commit=None, dirty=False, versions={}, host="h")
        spec = {"name": folder.name, "goals": [{"metric": NATS, "mode": "min"}], "budget": {"trials": 3, "wall": "1h"}}
        spec |= {"space": {"objective.rate": {"uniform": [0.0, 1.0]}}}
        self.ledger = Ledger(folder / NAME)
        self.add(SweepOpened(at=time.time(), spec=spec, sweep="s", provenance=origin))
        for number, name in enumerate("ab"):
            run, sample = {"training": {"steps": 100}, "objective": {"rate": 0.5}}, {"objective.rate": 0.5}
            self.add(TrialStarted(at=time.time(), trial=name, number=number, sample=sample, spec=run))
            self.report(name, 10)
        self.add(TrialEnded(at=time.time(), trial="a", status="failed", step=10, cause=NASTY))

    def add(self, event):
        self.ledger.append(event)

    def report(self, name, step):
        self.add(Reported(trial=name, step=step, seconds=step / 10, metrics={NATS: 5 + 1 / step}))


@pytest.fixture
def sweep(tmp_path):
    made = Sweep(tmp_path / "mine")
    with hold(made.folder / DRIVER):
        yield made


@pytest.fixture
def address(tmp_path, sweep, monkeypatch):
    monkeypatch.setattr(live_server, "LOOKS_EVERY_S", 0.05)
    with LiveServer(tmp_path, port=0, token=TOKEN) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()    # ends as soon as asked
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def asked(address, name="mine", *, token=TOKEN, **body):
    request = Request(f"{address}/{name}/ask", json.dumps(body).encode(), {"X-Token": token}, method="POST")
    try:
        with urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as refused:
        return refused.code, refused.read().decode()


class Events:
    """Those of a page, one after the other."""

    def __init__(self, address):
        self.stream = urlopen(address, timeout=20)

    def next(self, name="message"):
        while self.stream.readline() != f"event: {name}\n".encode():
            pass
        return json.loads(self.stream.readline().removeprefix(b"data: "))


def test_all_sweeps_and_runs_of_a_storage_are_listed_full_runs_too(address, sweep, tmp_path):
    Sweep(sweep.folder / "promoted" / "full").add(SweepClosed(at=time.time(), cause="complete"))
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / NAME).write_text('{"event": "dance"}\n')
    told = {run["name"]: run for run in Events(f"{address}/events").next()["runs"]}
    assert {name: run["state"] for name, run in told.items() if name != "torn"} == {
        "mine": "running", "mine/promoted/full": "complete",
    }  # fmt: skip
    assert "1 running" in told["mine"]["lines"][1]
    assert "was written by a newer version" in told["torn"]["state"]


def test_an_event_comes_whenever_the_record_has_grown(address, sweep):
    events = Events(f"{address}/mine/events")
    first = events.next()
    sweep.report("b", 20)
    then = events.next()
    assert [[len(line["x"]) for line in told["charts"][0]["data"]][-1] for told in (first, then)] == [1, 2]
    assert [row["cells"][3] for row in then["table"]["rows"]] == ["20/100", "10/100"]
    assert then["log"][0].endswith(f"trial 0 failed at step 10: {NASTY}")


def test_nobody_without_the_token_steers(address, sweep):
    assert asked(address, token="guess", action="pause")[0] == 403
    assert not (sweep.folder / "requests").exists()
    assert asked(address, name="yours", action="pause")[0] == 404
    assert asked(address, action="dance") == (409, "dance : there is no such thing to ask for")


def test_a_refusal_is_told(address):
    status, said = asked(address, action="stop", argument="17")
    assert status == 409
    assert "no such trial" in said


@pytest.mark.parametrize("path", ["/mine/../../etc/passwd", "/mine/ledger.jsonl", "/yours", "/mine/report.html"])
def test_nothing_but_pages_is_served(address, path):
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{address}{path}", timeout=10)
    assert refused.value.code == 404


def test_the_report_is_served_once_it_is_there(address, sweep):
    (sweep.folder / "report.html").write_text("<p>here")
    assert urlopen(f"{address}/mine/report.html", timeout=10).read() == b"<p>here"
    assert Events(f"{address}/mine/events").next()["links"] == ["report.html"]


def test_links_lead_to_dashboards_and_run_no_script(address, sweep):
    for where, url in (("Ray dashboard", "http://127.0.0.1:8265"), ("wandb", "javascript:alert(1)")):
        sweep.add(Linked(at=time.time(), where=where, url=url))
    told = Events(f"{address}/mine/events").next()
    assert told["elsewhere"] == [["Ray dashboard", "http://127.0.0.1:8265"]]


def test_what_processes_print_comes_line_by_line_and_only_the_end_of_much(address, sweep, monkeypatch):
    log, events = ProcessLog(sweep.folder), Events(f"{address}/mine/events")
    assert events.next("printed") == {}
    log.write("trial 1", ["warming up", "ready"])
    first = events.next("printed")
    assert [line[20:] for line in first["text"].splitlines()] == ["trial 1: warming up", "trial 1: ready"]
    log.write("trial 0", [NASTY])
    then = events.next("printed")
    assert (then["goes_on"], then["text"][20:]) == (True, f"trial 0: {NASTY}\n")
    log.write("trial 1", ["x" * 1000] * 100)
    much = Events(f"{address}/mine/events").next("printed")
    assert len(much["text"]) <= process_log.SHOWN_BYTES
    assert not much["goes_on"]
    assert {len(line) for line in much["text"].splitlines()} == {20 + len("trial 1: ") + 1000}    # whole ones


def test_the_log_of_processes_is_bounded_and_is_followed_when_it_begins_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(process_log, "MOST_BYTES", 1000)
    log, tail = ProcessLog(tmp_path), process_log.Tail(tmp_path)
    for number in range(100):
        log.write("trial 1", [f"line {number} {'.' * 40}"])
        told = json.loads(tail.told())
        assert told["text"].splitlines()[-1][20:].startswith(f"trial 1: line {number} ")
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2000


def test_trials_are_linked_to_trackers_and_to_analyses_of_their_checkpoints(address, sweep):
    sweep.add(Linked(at=time.time(), where="mlflow", url="http://127.0.0.1:5000/#/runs/1", trial="a"))
    analysis = sweep.folder / "trials" / "b" / "checkpoints" / "step-00000010" / "analysis.html"
    analysis.parent.mkdir(parents=True)
    analysis.write_text("<p>ranks")
    told = Events(f"{address}/mine/events").next()
    assert {row["number"]: row["links"] for row in told["table"]["rows"]} == {
        0: [["mlflow", "http://127.0.0.1:5000/#/runs/1"]],
        1: [["step-00000010", str(analysis.relative_to(sweep.folder))]],
    }
    assert urlopen(f"{address}/mine/{analysis.relative_to(sweep.folder)}", timeout=10).read() == b"<p>ranks"


def test_a_page_of_elsewhere_that_was_bent_to_this_address_is_refused(address):
    with pytest.raises(HTTPError) as refused:
        urlopen(Request(address, headers={"Host": "evil.example"}), timeout=10)
    assert refused.value.code == 403


class Browser:
    """Chromium without a window, over its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""

    def __init__(self, socket):
        self.socket, self.count, self.faults = socket, 0, []

    async def send(self, method, **params):
        self.count += 1
        await self.socket.send_json({"id": self.count, "method": method, "params": params})
        while True:
            told = await self.socket.receive_json(timeout=30)
            if told.get("method") == "Runtime.exceptionThrown":
                self.faults.append(told["params"])
            if told.get("method") == "Log.entryAdded" and told["params"]["entry"]["level"] == "error":
                self.faults.append(told["params"])    # warnings are of drivers that have no GPU
            if told.get("method") == "Runtime.consoleAPICalled" and told["params"]["type"] in ("error", "warning"):
                self.faults.append(told["params"])
            if told.get("id") == self.count:
                return told["result"]

    async def value(self, script):
        found = await self.send("Runtime.evaluate", expression=script, returnByValue=True)
        return found["result"].get("value")

    async def until(self, script, wanted):
        deadline = time.monotonic() + 20
        while (value := await self.value(script)) != wanted:
            assert time.monotonic() < deadline, (script, value, self.faults)
            await asyncio.sleep(0.1)


async def _browsed(folder, address, look):
    aiohttp = pytest.importorskip("aiohttp")
    quiet = ["--headless=new", "--no-sandbox", "--enable-unsafe-swiftshader", "--remote-debugging-port=0"]
    command = ["chromium", *quiet, f"--user-data-dir={folder}", "about:blank"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            port = folder / "DevToolsActivePort"
            while not port.exists() or len(port.read_text().split()) < 2:
                await asyncio.sleep(0.1)
            at = port.read_text().split()[0]
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{at}/json") as listed:
                    [page] = [one for one in await listed.json() if one["type"] == "page"]
                async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    browser = Browser(socket)
                    for domain in ("Runtime", "Log", "Page"):
                        await browser.send(f"{domain}.enable")
                    await browser.send("Page.navigate", url=address)
                    await look(browser)
                    return browser.faults
        finally:
            process.terminate()


def browsed(folder, address, look):
    """What the console complained of while `look` looked at a page."""
    return asyncio.run(_browsed(folder, address, look))


chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
STATUS = "document.querySelector('tr[data-number=\"1\"] td:nth-child(3)')?.textContent"
PRINTED = "document.querySelector('#printed').textContent"
POINTS = "Math.max(...(document.querySelector('.js-plotly-plot')?.data ?? []).map(line => line.x.length))"


@chromium
@pytest.mark.timeout(120)
def test_in_a_browser_curves_move_and_a_trial_that_is_stopped_stops(address, sweep, tmp_path):
    def drive():
        """Does what was asked, as a driver would."""
        channel, deadline = ControlChannel(sweep.folder), time.monotonic() + 60
        while time.monotonic() < deadline:
            for asked in channel.received():
                answer = {"accepted": True, "outcome": "it is stopped at its next report"}
                sweep.add(Controlled(at=time.time(), id=asked.id, by=asked.by, request=asked.request, **answer))
                over = {"status": "stopped", "step": 20, "cause": "stopped on request"}
                sweep.add(TrialEnded(at=time.time(), trial=asked.request.trial, **over))
                channel.remove(asked)
                return
            time.sleep(0.05)

    printed = ProcessLog(sweep.folder)

    async def look(browser):
        await browser.until(STATUS, "running")
        await browser.until(POINTS, 1)
        sweep.report("b", 20)
        await browser.until(POINTS, 2)
        printed.write("trial 1", ["ready"])
        await browser.until(f"{PRINTED}.slice(20)", "trial 1: ready")
        printed.write("trial 0", [NASTY])
        await browser.until(f"{PRINTED}.split('\\n').length", 2)
        only = "const only = document.querySelector('#only'); only.value = 'trial 1'; only.oninput()"
        await browser.value(f"{{ {only} }}")
        await browser.until(f"{PRINTED}.slice(20)", "trial 1: ready")
        assert NASTY in await browser.value("document.querySelector('#log').textContent")
        threading.Thread(target=drive, daemon=True).start()
        await browser.value("document.querySelector('tr[data-number=\"1\"] button').click()")
        await browser.until(STATUS, "stopped")
        await browser.until("document.querySelector('#answer').textContent", "stop 1: it is stopped at its next report")

    assert browsed(tmp_path / "browser", f"{address}/mine#token={TOKEN}", look) == []


@chromium
@pytest.mark.timeout(120)
def test_in_a_browser_curves_of_many_trials_are_drawn_too(address, sweep, tmp_path):
    for number in range(2, 70):
        run, sample = {"training": {"steps": 100}, "objective": {"rate": 0.5}}, {"objective.rate": 0.5}
        sweep.add(TrialStarted(at=time.time(), trial=f"t{number}", number=number, sample=sample, spec=run))
        sweep.report(f"t{number}", 10)

    async def look(browser):
        await browser.until("document.querySelectorAll('#rows tr').length", 70)
        await browser.until("document.querySelector('.js-plotly-plot canvas')?.width > 0", True)    # by WebGL

    assert browsed(tmp_path / "browser", f"{address}/mine", look) == []


@chromium
@pytest.mark.timeout(120)
def test_on_a_phone_the_page_is_as_wide_as_the_phone_in_light_and_dark(address, tmp_path):
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}

    async def look(browser):
        await browser.send("Emulation.setDeviceMetricsOverride", **phone)
        await browser.until(STATUS, "running")
        for scheme, paper in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 24, 29)")):
            feature = {"name": "prefers-color-scheme", "value": scheme}
            await browser.send("Emulation.setEmulatedMedia", features=[feature])
            await browser.until("getComputedStyle(document.body).backgroundColor", paper)
        assert await browser.value("document.documentElement.scrollWidth") == 390
        assert await browser.value("getComputedStyle(document.querySelector('.controls')).display") == "none"
        for width in (844, 390, 844, 390):    # turned, and back
            await browser.send("Emulation.setDeviceMetricsOverride", **phone | {"width": width})
            await browser.until("document.documentElement.clientWidth", width)
        assert await browser.value("document.querySelector('.js-plotly-plot').clientHeight") >= 400

    assert browsed(tmp_path / "browser", f"{address}/mine", look) == []
