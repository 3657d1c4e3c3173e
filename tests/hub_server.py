"""The part of the Hugging Face Hub's API that takes a commit, on a port of this machine."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class HubServer:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.tokens: set[str | None] = set()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                hub.tokens.add(self.headers["Authorization"])
                answer = json.dumps(hub.answer(self.path, body)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *said: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *fault: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path: str, body: bytes) -> dict[str, Any]:
        """To a POST."""
        match path.split("?")[0].split("/")[2:]:
            case ["repos", "create"]:
                given = json.loads(body)
                self.created.append({key: given[key] for key in ("name", "organization", "visibility")})
                return {"url": f"{self.url}/{given['organization']}/{given['name']}"}
            case ["models", _, _, "preupload", _]:
                how = {"uploadMode": "regular", "shouldIgnore": False}
                return {"files": [{"path": one["path"]} | how for one in json.loads(body)["files"]]}
            case ["models", owner, name, "commit", _]:
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                return {"commitUrl": f"{self.url}/{owner}/{name}/commit/{'0' * 40}", "commitOid": "0" * 40}
        return {}    # to whether a card is valid: no fault
