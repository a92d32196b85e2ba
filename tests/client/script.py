"""A server that answers what a test has written down, one answer after the other; it keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.base.door import Asked

PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Reply:
    """``status`` 0: the connection is cut instead. ``cut_after``: so many bytes of the body come, and no more.
    ``delay``: it waits until that is set."""

    status: int = 200
    body: bytes = b"{}"
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    delay: threading.Event | None = None


def document(value: object, status: int = 200, **headers: str) -> Reply:
    """JSON."""
    return Reply(status, json.dumps(value).encode(), headers={k.replace("_", "-"): v for k, v in headers.items()})


def problem(status: int, kind: str = "", detail: str = "no", facts: Any = None, **headers: str) -> Reply:
    """What Dynamo refuses with."""
    body = {
        "type": f"urn:dynamo:error:{kind}" if kind else "about:blank",
        "title": "Title",
        "status": status,
        "detail": detail,
        "facts": facts or {},
        "next_step": "Do otherwise.",
    }
    return Reply(status, json.dumps(body).encode(), PROBLEM, {k.replace("_", "-"): v for k, v in headers.items()})


class Script:
    """``replies``: in this order; the last one again and again. ``url``: of the server."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.asked: list[Asked] = []
        self.url = ""

    def says(self, *replies: Reply) -> None:
        """From now on."""
        self.replies[:] = replies
        self.asked.clear()

    @property
    def keys(self) -> list[str]:
        """The Idempotency-Keys that came."""
        return [asked.headers["Idempotency-Key"] for asked in self.asked]


@contextmanager
def scripted() -> Iterator[Script]:
    """One, at a port of this machine."""
    script, lock = Script(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with lock:
                script.asked.append(Asked(self.command, self.path, dict(self.headers), body))
                reply = script.replies.pop(0) if len(script.replies) > 1 else script.replies[0]
            self.close_connection = True
            if reply.delay is not None:
                reply.delay.wait(30)
            if not reply.status:
                return
            self.send_response(reply.status)
            for name, value in {
                "Connection": "close",
                "Content-Type": reply.media_type,
                "Content-Length": str(len(reply.body)),
                **reply.headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body[: reply.cut_after])

        def log_message(self, *arguments: object) -> None:
            """Silence."""

    for verb in ("GET", "POST", "PUT", "DELETE"):
        setattr(Handler, f"do_{verb}", Handler.answer)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
