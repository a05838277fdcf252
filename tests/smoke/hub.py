"""As much of the hub's HTTP interface as a push takes, on this machine."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub(ThreadingHTTPServer):
    """Keeps what is pushed: ``files`` by name, and the title of each commit."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, bytes] = {}
        self.commits: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self._answer(self._posted(self.path.split("?")[0], body))

    def _posted(self, path: str, body: bytes) -> dict:
        if path == "/api/repos/create":
            given = json.loads(body)
            owner = given.get("organization") or "me"
            return {"url": f"{self.server.url}/{owner}/{given['name']}"}
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            kept = {"uploadMode": "regular", "shouldIgnore": False}
            return {"files": [{"path": file["path"], **kept} for file in files]}
        if "/commit/" in path:
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "header":
                    self.server.commits.append(value["summary"])
                elif line["key"] == "file":
                    self.server.files[value["path"]] = base64.b64decode(value["content"])
            return {
                "commitUrl": f"{self.server.url}/me/model/commit/{'0' * 40}",
                "commitOid": "0" * 40,
            }
        return {}

    def do_GET(self) -> None:
        if self.path.startswith("/api/whoami"):
            self._answer({"name": "me", "type": "user", "auth": {}})
        else:
            self._answer({"error": "no such thing here"}, 404)

    def _answer(self, value: dict, status: int = 200) -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def running() -> Iterator[Hub]:
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
