"""A small HTTP server whose answers a test writes itself, over real sockets; it counts what is asked at a time."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Answer = Callable[[str, dict[str, str]], Any]
"""From path and query to a document, or to (status, document); a document of bytes is sent as it is."""


class JsonServer:
    """A context manager; ``asked`` holds the paths and queries so far, ``most_at_once`` how many at the same time."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> JsonServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _respond(self, target: str) -> tuple[int, bytes]:
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        with self._lock:
            self.asked.append((parts.path, query))
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            found = self.answer(parts.path, query)
        finally:
            with self._lock:
                self._now -= 1
        status, document = found if isinstance(found, tuple) else (200, found)
        return status, document if isinstance(document, bytes) else json.dumps(document).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body go together; apart, the second waits for the first to be acknowledged

            def do_GET(self) -> None:
                outer.headers.append(dict(self.headers))
                status, body = outer._respond(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                """Silence."""

        return Handler
