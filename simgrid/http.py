"""A small threaded HTTP/1.1 server with keep-alive, for all the grid's services; HTTPS when given a TLS context.

A thread serves a connection. The TLS handshake happens there, so a slow client never blocks the accept loop.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import socket
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO, cast
from urllib.parse import parse_qs, unquote

from simgrid.tls import peer_dn

log = logging.getLogger(__name__)
CHUNK = 1 << 18
_REASONS = {207: "Multi-Status", 419: "Unknown", 423: "Locked", 507: "Insufficient Storage"}


class PortInUseError(Exception):
    """A server cannot listen; the text names address, port and the setting to change."""


class BadBodyError(ValueError):
    """The request's body is not what its headers promise."""


@dataclass(slots=True)
class Request:
    method: str
    path: str  # percent-decoded, without query
    query: dict[str, list[str]]
    headers: Any  # email.message.Message: case-insensitive
    dn: str | None  # of the TLS client certificate or proxy; None for anonymous
    stream: BinaryIO
    length: int  # of the body; -1 when it comes in chunks and says itself where it ends
    consumed: int = 0

    def chunks(self) -> Iterator[bytes]:
        """The body, piece by piece. Raises BadBodyError when the client stops early."""
        while self.length < 0 or self.consumed < self.length:
            piece = self.stream.read(CHUNK if self.length < 0 else min(CHUNK, self.length - self.consumed))
            if not piece and self.length < 0:
                return
            if not piece:
                raise BadBodyError("the connection ended within the body")
            self.consumed += len(piece)
            yield piece

    def body(self) -> bytes:
        return b"".join(self.chunks())

    def first(self, name: str) -> str | None:
        return self.query[name][0] if self.query.get(name) else None


@dataclass(slots=True)
class Response:
    status: int = 200
    body: bytes = b""
    content_type: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    reason: str | None = None
    file: BinaryIO | None = None  # streamed instead of body, `length` bytes of it; closed by the server
    length: int = 0  # Content-Length of a HEAD answer or a streamed file


class NoAnswerError(Exception):
    """Raised by a handler to cut the connection without an answer."""


Handler = Callable[..., Response]


def json_response(document: Any, status: int = 200, **more: Any) -> Response:
    return Response(status, json.dumps(document).encode(), "application/json", **more)


class Routes:
    """A table of (method, path pattern) to handler. `{name}` in a pattern matches within one path segment."""

    def __init__(self) -> None:
        self._table: list[tuple[str, re.Pattern[str], Handler]] = []

    def add(self, method: str, pattern: str, handler: Handler) -> None:
        expression = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)
        self._table.append((method, re.compile(expression), handler))

    def find(self, method: str, path: str) -> tuple[Handler | None, dict[str, str], bool]:
        """Handler, its arguments from the path, and whether the path is known under any method."""
        known = False
        for verb, pattern, handler in self._table:
            match = pattern.fullmatch(path)
            if match:
                known = True
                if verb == method:
                    return handler, match.groupdict(), True
        return None, {}, known


class Service(ABC):
    """What a server serves. Subclasses route a request; faults common to all services are handled here."""

    server_header = "pocket-grid"

    def is_down(self) -> bool:
        return False

    def delay_s(self) -> float:
        return 0.0

    @abstractmethod
    def handle(self, request: Request) -> Response:
        """Answer one request."""


class Server(ThreadingHTTPServer):
    """One listening socket for one service. `start` begins to serve; `close` ends open connections too."""

    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(
        self, service: Service, address: str, port: int, context: ssl.SSLContext | None, setting: str = "--port-base"
    ) -> None:
        self.service = service
        self._context = context
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        try:
            super().__init__((address, port), _Connection)
        except OSError as error:
            raise PortInUseError(
                f"cannot listen on {address} port {port} ({error.strerror}); choose another with {setting}"
            ) from error
        self.port: int = self.socket.getsockname()[1]

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)

    def start(self) -> None:
        threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True, name=f"serve-{self.port}"
        ).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        with self._open_lock:
            connections = list(self._open)
        for connection in connections:
            _cut(connection)

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        stream = request
        try:
            if self.service.is_down():
                return
            request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                request.settimeout(10)
                stream = self._context.wrap_socket(request, server_side=True)
                with self._open_lock:
                    self._open.add(stream)
                stream.settimeout(None)
            _Connection(stream, client_address, self)
        except (OSError, ssl.SSLError) as error:
            log.debug("connection from %s ended: %s", client_address, error)
        finally:
            with self._open_lock:
                self._open -= {request, stream}
            _cut(stream)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        log.exception("unexpected failure serving %s", client_address)


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: Server

    def setup(self) -> None:
        super().setup()
        certificate = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        self.dn = peer_dn(certificate)  # type: ignore[arg-type]

    def version_string(self) -> str:
        return self.server.service.server_header

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class calls it so
        log.debug(format, *args)

    def serve(self) -> None:
        service = self.server.service
        if service.is_down():
            self.close_connection = True
            return
        request = self._request()
        delay = service.delay_s()
        if delay:
            time.sleep(delay)
        try:
            if self.headers.get("Expect", "").lower() == "100-continue":
                self.send_response_only(100)
                self.end_headers()
                self.wfile.flush()
            response = service.handle(request)
        except (NoAnswerError, BadBodyError, ConnectionError):
            self.close_connection = True
            return
        except Exception:
            log.exception("%s %s failed", self.command, self.path)
            response = Response(500, b"internal error of the pocket grid; see its log\n", "text/plain")
        self._drain(request)
        self._send(response)

    def _request(self) -> Request:
        path, _, query = self.path.partition("?")
        stream = cast(BinaryIO, self.rfile)
        length = int(self.headers.get("Content-Length") or 0)
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            stream, length = cast(BinaryIO, _Dechunked(stream)), -1
        return Request(
            self.command, unquote(path), parse_qs(query, keep_blank_values=True), self.headers, self.dn, stream, length
        )

    def _drain(self, request: Request) -> None:
        """Read what the handler left of the body, so that the next request starts at its own first byte."""
        left = request.length - request.consumed
        if request.length < 0 or left > (1 << 24):
            self.close_connection = True
        elif left > 0:
            self.rfile.read(left)

    def _send(self, response: Response) -> None:
        reason = response.reason or _REASONS.get(response.status)
        self.send_response(response.status, reason)
        if response.content_type:
            self.send_header("Content-Type", response.content_type)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if response.status not in (204, 304) and "Content-Length" not in response.headers:
            self.send_header("Content-Length", str(response.length or len(response.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if response.file is not None:
            with response.file:
                self._stream(response.file, response.length)
        elif self.command != "HEAD":
            self.wfile.write(response.body)
        self.wfile.flush()

    def _stream(self, file: BinaryIO, length: int) -> None:
        while length > 0:
            piece = file.read(min(CHUNK, length))
            if not piece:
                self.close_connection = True  # the file shrank under us: the client must not take it for whole
                return
            self.wfile.write(piece)
            length -= len(piece)


for _verb in (
    "GET",
    "HEAD",
    "PUT",
    "POST",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "MKCOL",
    "PROPFIND",
    "PROPPATCH",
    "MOVE",
    "COPY",
    "LOCK",
    "UNLOCK",
):
    setattr(_Connection, f"do_{_verb}", _Connection.serve)


class _Dechunked(io.RawIOBase):
    """A body in chunked transfer coding, read as plain bytes. Raises BadBodyError when it ends within a chunk."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._left = 0
        self._ended = False

    def read(self, size: int = CHUNK) -> bytes:
        if self._left == 0 and not self._ended:
            self._next_chunk()
        if self._ended:
            return b""
        piece = self._stream.read(min(size, self._left))
        if not piece:
            raise BadBodyError("the connection ended within a chunk")
        self._left -= len(piece)
        if self._left == 0:
            self._stream.readline(10)
        return piece

    def _next_chunk(self) -> None:
        try:
            self._left = int(self._stream.readline(100).split(b";")[0], 16)
        except ValueError as error:
            raise BadBodyError("not a chunk length") from error
        if self._left == 0:
            self._ended = True
            while self._stream.readline(1000).strip():
                pass
