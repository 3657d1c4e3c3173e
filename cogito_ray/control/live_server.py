"""The live page of a storage: what sweeps and runs do, drawn as it happens; and their controls, for who has the token.

Standard library alone. Listens on loopback: from elsewhere one comes by a tunnel (`ssh -L`). Events are server-sent
(https://html.spec.whatwg.org/multipage/server-sent-events.html): one JSON text whenever a record has grown.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from secrets import compare_digest
from threading import Lock
from typing import cast
from urllib.parse import unquote, urlsplit

from cogito_ray.control import sweep_control
from cogito_ray.display.result_tables import run_line, so_far
from cogito_ray.object_storage.driver_lease import refresh_all
from cogito_ray.records.ledger import NAME, PROMOTED, LedgerFault
from cogito_ray.records.pages import live_page, plan_page
from cogito_ray.records.plan_record import NAME as PLAN
from cogito_ray.records.plan_record import read
from cogito_ray.records.process_log import Tail
from cogito_ray.records.sweep_record import SharedRecord
from cogito_ray.sweeps.yaml_io.overrides import sample_of

LOOKS_EVERY_S, MOST_OF_A_CORE = 1.0, 0.1
"""Between two looks at a record, and longer where it takes long to draw."""
CLOCK_S = 10
"""Between two drawings where nothing happens but time."""
PINGS_EVERY_S = 15.0
"""So that a browser that has gone is noticed."""
MOST_ASKED = 10_000
"""Bytes of a request."""
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; frame-ancestors 'none'"
)


class Watched:
    """One sweep or run, in brief or whole; drawn once, however many browsers look."""

    def __init__(self, folder: Path, *, whole: bool):
        self.folder, self._whole = folder, whole
        self._record, self._lock = SharedRecord(folder / NAME), Lock()
        self._told, self._seen, self._due = "{}", (-1, "", 0), 0.0

    def told(self) -> str:
        """What its page shows by now, as JSON. Raises OSError and LedgerFault where its ledger cannot be read."""
        with self._lock:
            if time.monotonic() >= self._due:
                began = time.thread_time()
                self._draw()
                self._due = time.monotonic() + max(LOOKS_EVERY_S, (time.thread_time() - began) / MOST_OF_A_CORE)
            return self._told

    def _draw(self) -> None:
        with self._record.now() as record:
            if not record.openings:
                return
            status = sweep_control.status_of(self.folder, record)
            now = time.time() if status.driver else None
            if (seen := (len(record.events), status.state, int((now or 0) / CLOCK_S))) == self._seen:
                return
            lines = (so_far(record, now) if record.axes else run_line(record, now).split("; ")) if record.trials else []
            whole = live_page.content(record, self.folder) if self._whole and record.trials else {}
            self._told, self._seen = json.dumps({"state": status.state, "lines": lines, **whole}), seen


class LiveServer(ThreadingHTTPServer):
    """Of one storage. `server_address[1]` is its port."""

    daemon_threads = True

    def __init__(self, storage: Path, *, port: int, token: str | None):
        """`token`: who sends it may ask for changes; None = nobody may."""
        super().__init__(("127.0.0.1", port), _Handler)
        self.storage, self.token = storage, token
        self._watched: dict[tuple[str, bool], Watched] = {}

    def runs(self) -> dict[str, Path]:
        """Every sweep and run there is by now, by its path in the storage, full runs of sweeps included."""
        refresh_all(self.storage)
        found = [*self.storage.glob(f"*/{NAME}"), *self.storage.glob(f"*/{PROMOTED}/*/{NAME}")]
        return {file.parent.relative_to(self.storage).as_posix(): file.parent for file in sorted(found)}

    def watched(self, name: str, *, whole: bool) -> Watched:
        """One of them."""
        return self._watched.setdefault((name, whole), Watched(self.storage / name, whole=whole))

    def overview(self) -> str:
        """All of them, as JSON."""
        return json.dumps({"runs": [{"name": name, **self._brief(name)} for name in [*self.plans(), *self.runs()]]})

    def plans(self) -> list[str]:
        """Every plan there is by now, by its path in the storage."""
        return sorted(file.parent.name for file in self.storage.glob(f"*/{PLAN}"))

    def _brief(self, name: str) -> dict[str, object]:
        try:
            if (self.storage / name / PLAN).is_file():
                record = read(self.storage / name)
                return {"state": record.standing, "lines": [record.counts]}
            return {"state": "starting", "lines": [], **json.loads(self.watched(name, whole=False).told())}
        except (OSError, LedgerFault) as fault:
            return {"state": str(fault), "lines": []}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def live(self) -> LiveServer:
        return cast(LiveServer, self.server)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        if not self._is_local():
            return
        if path == "plotly.js":
            self._send(live_page.plotly(), "text/javascript")
        elif path in self.live.plans():
            self._send(plan_page.render(self.live.storage / path), "text/html")
        elif path in ("", "events"):
            self._page("") if path == "" else self._stream(message=self.live.overview)
        else:
            self._of_a_run(path)

    def do_POST(self) -> None:
        """Ask something of a sweep: {"action": ..., "argument": ...}, with the token."""
        name = unquote(urlsplit(self.path).path).strip("/").removesuffix("/ask")
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(min(length, MOST_ASKED))
        if not self._is_local():
            return
        given = self.headers.get("X-Token", "")
        if self.live.token is None or not compare_digest(given.encode(), self.live.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, "the token is missing or another; open the address that was printed")
        elif name not in (runs := self.live.runs()):
            self._refuse(HTTPStatus.NOT_FOUND, "no such sweep")
        else:
            try:
                self._send(_asked(runs[name], json.loads(body)), "text/plain")
            except (ValueError, OSError) as refused:
                self._refuse(HTTPStatus.CONFLICT, str(refused))

    def _of_a_run(self, path: str) -> None:
        runs = self.live.runs()
        name = max((name for name in runs if f"{path}/".startswith(f"{name}/")), key=len, default=None)
        rest = path[len(name) :].strip("/") if name is not None else ""
        if name is None:
            self._refuse(HTTPStatus.NOT_FOUND, f"there is no {path} in {self.live.storage}")
        elif rest == "":
            self._page(name)
        elif rest == "events":
            self._stream(message=self.live.watched(name, whole=True).told, printed=Tail(runs[name]).told)
        elif rest in live_page.links(runs[name]):
            self._send((runs[name] / rest).read_text(encoding="utf-8"), "text/html")
        else:
            self._refuse(HTTPStatus.NOT_FOUND, f"there is no {rest} in {name}")

    def _is_local(self) -> bool:
        """A page of elsewhere whose name was bent to this address has another Host (DNS rebinding)."""
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if host in ("127.0.0.1", "localhost"):
            return True
        self._refuse(HTTPStatus.FORBIDDEN, "ask for 127.0.0.1 or localhost")
        return False

    def _page(self, name: str) -> None:
        self._send(live_page.page(name=name, storage=self.live.storage.name), "text/html")

    def _send(self, text: str, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        content = text.encode()
        self._head(status, kind, {"Content-Length": str(len(content))})
        self.wfile.write(content)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._send(why, "text/plain", status)

    def _head(self, status: HTTPStatus, kind: str, more: dict[str, str]) -> None:
        self.send_response(status)
        fixed = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": POLICY}
        for header, value in {"Content-Type": f"{kind}; charset=utf-8", **fixed, **more}.items():
            self.send_header(header, value)
        self.end_headers()

    def _stream(self, **tellers: Callable[[], str]) -> None:
        """What each tells, as an event of its name, whenever that is another text. Until the browser goes."""
        self._head(HTTPStatus.OK, "text/event-stream", {"Connection": "close"})
        self.close_connection = True
        sent, said = dict[str, str](), time.monotonic()
        try:
            while True:
                for name, told in tellers.items():
                    if (now := told()) != sent.get(name):
                        self.wfile.write(f"event: {name}\ndata: {now}\n\n".encode())
                        sent[name], said = now, time.monotonic()
                if time.monotonic() - said > PINGS_EVERY_S:
                    self.wfile.write(b": still here\n\n")
                    said = time.monotonic()
                time.sleep(LOOKS_EVERY_S / 2)
        except (ConnectionError, LedgerFault, FileNotFoundError):
            return


def _asked(folder: Path, asked: dict[str, str]) -> str:
    """What came of it. ValueError where it is refused."""
    action, argument = asked.get("action", ""), asked.get("argument", "")
    match action:
        case "stop":
            return sweep_control.stop(argument, run=folder)
        case "pause":
            return sweep_control.pause(argument or None, run=folder)
        case "resume":
            return sweep_control.resume(argument or None, run=folder)
        case "add":
            return sweep_control.add(sample_of(argument.split()), run=folder)
        case "budget":
            return sweep_control.budget(*argument.split(), run=folder)
        case "concurrency" if argument.isdecimal():
            return sweep_control.concurrency(int(argument), run=folder)
        case _:
            raise ValueError(f"{action} {argument}: there is no such thing to ask for")
