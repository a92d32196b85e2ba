"""A server whose only answer a test chooses, to any verb; it keeps what it was asked."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

REDIRECTS = range(300, 400)
VERBS = ("GET", "HEAD", "PUT", "POST", "DELETE", "PROPFIND", "MKCOL", "MOVE")


@dataclass(frozen=True)
class Asked:
    """One request."""

    verb: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    has_certificate: bool = False


class Door:
    """A context manager. ``status`` 0: the connection is cut. ``at``: other statuses, by path. ``delay``: set it to let
    waiting answers go."""

    def __init__(self, status: int = 200, body: bytes = b"[]", context: ssl.SSLContext | None = None) -> None:
        self.status, self.body = status, body
        self.headers: dict[str, str] = {}
        self.at: dict[str, int] = {}
        self.asked: list[Asked] = []
        self.delay: threading.Event | None = None
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"door": self}))
        if context is not None:
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Door:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.delay is not None:
            self.delay.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Silence: TLS that fails is what is tested."""

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        """Close when the other side has: closed with its words unread, it would not hear ours."""
        with suppress(OSError), socket.socket(fileno=os.dup(request.fileno())) as plain:
            plain.shutdown(socket.SHUT_WR)
            plain.settimeout(1)
            while plain.recv(1 << 16):
                pass
        self.close_request(request)


class _Handler(BaseHTTPRequestHandler):
    door: Door
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body go together; apart, the second waits for the first to be acknowledged

    def handle_expect_100(self) -> bool:
        """Who sends elsewhere wants no body."""
        if self.door.status not in REDIRECTS:
            goes_on = super().handle_expect_100()
            self.wfile.flush()
            return goes_on
        self.door.asked.append(Asked(self.command, self.path, dict(self.headers), b""))
        self.reply()
        return False

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        certificate = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        self.door.asked.append(Asked(self.command, self.path, dict(self.headers), body, bool(certificate)))
        if self.door.delay is not None:
            self.door.delay.wait(30)
        if self.status:
            self.reply()
        self.close_connection = True

    @property
    def status(self) -> int:
        return self.door.at.get(self.path, self.door.status)

    def reply(self) -> None:
        body = b"" if self.status in (204, 304) else self.door.body
        self.send_response(self.status)
        for name, value in {"Connection": "close", "Content-Length": str(len(body)), **self.door.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Silence."""


for _verb in VERBS:
    setattr(_Handler, f"do_{_verb}", _Handler.answer)
