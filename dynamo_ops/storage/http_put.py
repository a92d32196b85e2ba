"""One PUT, fed piece by piece: neither requests nor urllib3 lets the sender push.

``Expect: 100-continue`` is asked first, so that a missing directory, a refusal or a redirect to another server is known
before the first byte has left.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import certifi

from dynamo_ops.base.errors import CredentialError, PermanentRemoteError, RemoteError, RetryableRemoteError
from dynamo_ops.base.tls import is_cut
from dynamo_ops.storage.protocol import StorageOptions

REDIRECTS = frozenset({301, 302, 307, 308})
_MOST_REDIRECTS = 3
_CONTINUE_WAIT_S = 5.0  # a server that has not said "go on" by then does not know Expect and waits for the body
_SLICE = 1 << 20  # the time-out is for each slice


@dataclass(frozen=True)
class Answer:
    """The status line of an answer, where it sends us, and the beginning of its body."""

    status: int
    reason: str
    location: str | None = None
    text: str = ""


class HttpPut:
    """An open PUT. Raises RetryableRemoteError and CredentialError; what a status means is the caller's."""

    def __init__(self, options: StorageOptions, headers: Mapping[str, str]) -> None:
        self._options = options
        self._headers = headers
        self._socket: socket.socket | None = None
        self._received = b""
        self._early: Answer | None = None
        self._url = ""

    def begin(self, url: str, size_bytes: int) -> Answer | None:
        """Open the connection and announce the body; None: go on and ``send`` it. Else the final answer."""
        first_host = urlsplit(url).netloc
        for _ in range(_MOST_REDIRECTS):
            self._url = url
            answer = self._announce(size_bytes, with_token=urlsplit(url).netloc == first_host)
            if answer is None:
                return None
            self.close()
            if not size_bytes and answer.status < 300:
                self._early = answer
                return None
            if answer.status not in REDIRECTS or not answer.location:
                return answer
            url = urljoin(url, answer.location)
        raise PermanentRemoteError(
            f"PUT {url}: more than {_MOST_REDIRECTS} redirects; mend the storage's door", service="storage", url=url
        )

    def send(self, piece: bytes) -> None:
        """Send a part of the body."""
        view = memoryview(piece)
        try:
            for start in range(0, len(view), _SLICE):
                self._open().sendall(view[start : start + _SLICE])
        except OSError as error:
            raise self._broken(error) from error

    def answer(self) -> Answer:
        """The server's answer, once the whole body is sent."""
        if self._early is not None:
            return self._early
        try:
            answer = self._receive(self._options.read_timeout)
            while answer.status == 100:  # it was slow to say "go on"
                answer = self._receive(self._options.read_timeout)
            return answer
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Cut the connection, whatever was sent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._received = b""

    def _announce(self, size_bytes: int, with_token: bool) -> Answer | None:
        parts = urlsplit(self._url)
        lines = [f"PUT {parts.path}{'?' + parts.query if parts.query else ''} HTTP/1.1", f"Host: {parts.netloc}"]
        lines += [f"Content-Length: {size_bytes}", "Connection: close"]
        # Nothing to hold back; and XRootD 5.5, having said "go on", waits for ever for the body of an empty file.
        lines += ["Expect: 100-continue"] if size_bytes else []
        wait_s = min(_CONTINUE_WAIT_S, self._options.read_timeout) if size_bytes else self._options.read_timeout
        lines += [f"{k}: {v}" for k, v in self._headers.items() if with_token or k.lower() != "authorization"]
        try:
            self._socket = self._connect(parts.scheme, parts.hostname or "", parts.port)
            self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            try:
                answer = self._receive(wait_s)
            except TimeoutError:
                if not size_bytes:
                    raise
                return None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._failure(error) from error
        return None if answer.status == 100 else answer

    def _connect(self, scheme: str, host: str, port: int | None) -> socket.socket:
        plain = socket.create_connection(
            (host, port or (443 if scheme == "https" else 80)), self._options.connect_timeout
        )
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if scheme != "https":
            return plain
        try:
            return _tls(self._options).wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise

    def _receive(self, wait_s: float) -> Answer:
        """The next answer, an interim 100 included. TimeoutError when none came in ``wait_s``."""
        connection = self._open()
        connection.settimeout(wait_s)
        try:
            while b"\r\n\r\n" not in self._received:
                piece = connection.recv(1 << 16)
                if not piece:
                    raise ConnectionResetError("the connection ended without an answer")
                self._received += piece
        finally:
            connection.settimeout(self._options.read_timeout)
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        status_line, _, fields = head.partition(b"\r\n")
        _, status, *reason = status_line.decode("latin-1").split(" ", 2)
        headers = http.client.parse_headers(io.BytesIO(fields + b"\r\n\r\n"))
        return Answer(
            int(status), "".join(reason), headers.get("Location"), self._received[:200].decode(errors="replace")
        )

    def _open(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionResetError("the connection is closed")
        return self._socket

    def _broken(self, error: OSError) -> RemoteError:
        """What to raise when the body was not taken: a server may have answered, and said why, in the middle of it."""
        try:
            answer = self._receive(1.0)
        except (OSError, ValueError, http.client.HTTPException):
            return self._failure(error)
        kind = PermanentRemoteError if 400 <= answer.status < 500 else RetryableRemoteError
        return kind(
            f"PUT {self._url} answered {answer.status} {answer.reason} before the whole file was sent",
            service="storage",
            url=self._url,
            status=answer.status,
        )

    def _failure(self, error: Exception) -> RemoteError:
        refused = isinstance(error, ssl.SSLError) and not is_cut(error)
        kind = CredentialError if refused else RetryableRemoteError
        return kind(
            f"PUT {self._url}: {'TLS refused' if refused else 'no answer'}: {error}",
            service="storage",
            url=self._url,
            status=None,
        )


def _tls(options: StorageOptions) -> ssl.SSLContext:
    authorities = options.ca or certifi.where()
    is_folder = os.path.isdir(authorities)
    context = ssl.create_default_context(
        cafile=None if is_folder else authorities, capath=authorities if is_folder else None
    )
    if options.cert:
        context.load_cert_chain(options.cert, options.key or options.cert)
    return context
