"""A server that speaks S3, in threads of the test's process, which can be slow, fail, reset connections and be gone."""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "bucket"


class Quiet(WSGIRequestHandler):
    def log_request(self, *told: object) -> None:
        pass


class S3Server:
    """Set `slow_s`, `fails_every` or `resets_every` for faults."""

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self.calls = 0
        self.recover()
        self._lock = threading.Lock()
        self._start(0)
        self.port = self._server.server_port

    def recover(self) -> None:
        """No faults any more."""
        self.slow_s, self.fails_every, self.resets_every = 0.0, 0, 0
        self._awaited: set[bytes] = set()

    def break_after(self, *written: bytes) -> None:
        """Answer nothing more once each of these was in the name or the content of an object that was put."""
        self._awaited = set(written)

    def __call__(self, environ: dict[str, Any], respond: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            self.calls += 1
            number = self.calls
        time.sleep(self.slow_s)
        if self.resets_every and number % self.resets_every == 0:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError
        if self.fails_every and number % self.fails_every == 0:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            respond("500 Internal Server Error", [("Content-Length", "0")])
            return [b""]
        with self._lock:    # moto looks whether there is an object, and puts it, in two steps
            if not self._awaited or environ["REQUEST_METHOD"] != "PUT":
                return list(self._app(environ, respond))
            content = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            answer = list(self._app(environ | {"wsgi.input": BytesIO(content)}, respond))
            put = environ["PATH_INFO"].encode() + content
            self._awaited = {written for written in self._awaited if written not in put}
            self.resets_every = 0 if self._awaited else 1
            return answer

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @contextmanager
    def gone(self, seconds: float) -> Iterator[None]:
        """Nobody answers for so long; what it holds stays."""
        self.stop()
        timer = threading.Timer(seconds, self._start, [self.port])
        timer.start()
        yield
        timer.join()

    def _start(self, port: int) -> None:
        self._server = make_server("127.0.0.1", port, self, threaded=True, request_handler=Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
