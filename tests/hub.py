"""A Hugging Face hub on loopback: model listings, HEAD and ranged GET of files, cut connections."""

import hashlib
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the hub has, and how it misbehaves.

    Attributes:
        repos: Files by repository.
        wrong_checksums: Names of files whose listed checksum is not theirs.
        cut_after: The first GET of a file ends after this many bytes.
        stall_after: The first GET of a file stands still after this many bytes.
        stalled: Set when it does.
        ranges: The Range headers it was sent.
        requests: All requests, as `METHOD path`.
    """

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict[str, dict[str, bytes]])
    wrong_checksums: set[str] = field(default_factory=set[str])
    cut_after: int | None = None
    stall_after: int | None = None
    stalled: threading.Event = field(default_factory=threading.Event)
    ranges: list[str] = field(default_factory=list[str])
    requests: list[str] = field(default_factory=list[str])
    url: str = ""

    def listing(self, repo: str) -> dict[str, Any]:
        return {
            "id": repo,
            "sha": COMMIT,
            "siblings": [
                {
                    "rfilename": name,
                    "size": len(content),
                    "lfs": {
                        "sha256": self.checksum(name, content),
                        "size": len(content),
                        "pointerSize": 134,
                    },
                }
                for name, content in self.repos[repo].items()
            ],
        }

    def checksum(self, name: str, content: bytes) -> str:
        return "0" * 64 if name in self.wrong_checksums else hashlib.sha256(content).hexdigest()


@contextmanager
def serve_hub(hub: Hub) -> Generator[Hub]:
    """Serve it on loopback for the length of the block; `hub.url` says where."""
    answers = type("Answers", (_Answers,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), answers) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join(timeout=10)


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is given
        """Keep stderr clean."""

    def _answer(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0].lstrip("/")
        if path.startswith("api/models/"):
            self._send_listing("/".join(path.split("/")[2:4]))
            return
        repo, _, rest = path.partition("/resolve/")
        name = rest.partition("/")[2]
        content = self.hub.repos.get(repo, {}).get(name)
        if content is None:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        else:
            self._send_file(name, content)

    def _send_listing(self, repo: str) -> None:
        if repo in self.hub.repos:
            self._send(200, json.dumps(self.hub.listing(repo)).encode(), {})
        else:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _send_file(self, name: str, content: bytes) -> None:
        headers = {"ETag": f'"{self.hub.checksum(name, content)}"', "X-Repo-Commit": COMMIT}
        asked = self.headers.get("Range")
        if asked:
            self.hub.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._send(206, content[start:], headers)
            return
        cut = None
        if self.command == "GET":
            cut, self.hub.cut_after = self.hub.cut_after, None
            if self.hub.stall_after is not None:
                self._stall(content, headers)
                return
        self._send(200, content, headers, cut_after=cut)

    def _stall(self, content: bytes, headers: dict[str, str]) -> None:
        """Send a part, and wait until the other side has gone away."""
        part, self.hub.stall_after = self.hub.stall_after, None
        self._send_head(200, len(content), headers)
        self.wfile.write(content[:part])
        self.hub.stalled.set()
        self.close_connection = True
        self.connection.settimeout(60)
        with suppress(ConnectionError):
            self.connection.recv(1)

    def _send(
        self, status: int, body: bytes, headers: dict[str, str], *, cut_after: int | None = None
    ) -> None:
        self._send_head(status, len(body), headers)
        if self.command == "GET":
            self.wfile.write(body[:cut_after])
        if cut_after is not None:
            self.close_connection = True

    def _send_head(self, status: int, size: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(size))
        self.end_headers()
