"""One PUT, fed piece by piece: neither requests nor urllib3 lets the sender push. h11 speaks HTTP, this the sockets.

``Expect: 100-continue`` is asked first, so that a missing directory, a refusal or a redirect to another server is known
before the first byte has left.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11

from dynamo_ops.base.errors import RemoteError, RetryableRemoteError
from dynamo_ops.base.http import redirect
from dynamo_ops.base.http.remote import failure_words, kind_of_failure, kind_of_status
from dynamo_ops.base.http.session import USER_AGENT
from dynamo_ops.storage.protocol import StorageOptions

_CONTINUE_WAIT_S = 5.0  # a server that has not said "go on" by then does not know Expect and waits for the body
_SLICE = 1 << 20  # the time-out is for each slice
_SHOWN_BYTES = 200
_FAILURES = (OSError, h11.ProtocolError)


@dataclass(frozen=True)
class Answer:
    """The status line of an answer, where it sends us, and the beginning of its body."""

    status: int
    reason: str
    location: str | None = None
    text: str = ""


class HttpPut:
    """An open PUT. Raises RetryableRemoteError and CredentialError; what a status means is the caller's.

    ``own_headers``: the token. ``own_hosts``: where alone it goes when it is sent on, these and the certificate with
    it.
    """

    def __init__(self, options: StorageOptions, own_headers: Mapping[str, str], own_hosts: redirect.Hosts) -> None:
        self._options = options
        self._own_headers = own_headers
        self._own_hosts = own_hosts
        self._socket: socket.socket | None = None
        self._http = h11.Connection(h11.CLIENT)
        self._early: Answer | None = None
        self._url = ""

    def begin(self, url: str, size_bytes: int) -> Answer | None:
        """Open the connection and announce the body; None: go on and ``send`` it. Else the final answer."""
        for _ in range(redirect.MOST_REDIRECTS + 1):
            self._url = url
            answer = self._announce(size_bytes)
            if answer is None:
                return None
            self.close()
            if not size_bytes and kind_of_status(answer.status, "PUT") is None:
                self._early = answer
                return None
            if answer.status not in redirect.KEEP_THE_VERB or not answer.location:
                return answer
            url = redirect.next_url(url, answer.location, self._own_hosts)
        raise redirect.too_many(url)

    def send(self, piece: bytes) -> None:
        """Send a part of the body."""
        view = memoryview(piece)
        try:
            for start in range(0, len(view), _SLICE):
                self._write(h11.Data(view[start : start + _SLICE]))  # type: ignore[arg-type]  # it only asks the length
        except OSError as error:
            raise self._broken(error) from error

    def answer(self) -> Answer:
        """The server's answer, once the whole body is sent."""
        if self._early is not None:
            return self._early
        try:
            self._write(h11.EndOfMessage())
            answer = self._receive(self._options.read_timeout)
            while answer.status == 100:  # it was slow to say "go on"
                answer = self._receive(self._options.read_timeout)
            return answer
        except _FAILURES as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Cut the connection, whatever was sent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _announce(self, size_bytes: int) -> Answer | None:
        """None: the server waits for the body. Else its answer."""
        redirect.check_secrecy(self._url, self._own_headers)
        wait_s = min(_CONTINUE_WAIT_S, self._options.read_timeout) if size_bytes else self._options.read_timeout
        try:
            self._http = h11.Connection(h11.CLIENT)
            self._socket = self._connect()
            self._write(_request(self._url, size_bytes, self._own_headers))
            try:
                answer = self._receive(wait_s)
            except TimeoutError:
                if not size_bytes:
                    raise
                return None
        except (*_FAILURES, ValueError) as error:  # of an address with an odd port
            raise self._failure(error) from error
        return None if answer.status == 100 else answer

    def _connect(self) -> socket.socket:
        parts = urlsplit(self._url)
        is_tls = parts.scheme == "https"
        context = self._options.credentials.context() if is_tls else None
        host = parts.hostname or ""
        plain = socket.create_connection((host, parts.port or (443 if is_tls else 80)), self._options.connect_timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is None:
            return plain
        try:
            return context.wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise

    def _write(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> None:
        """Send what h11 makes of an event, without copying the body's bytes."""
        for part in self._http.send_with_data_passthrough(event) or ():
            self._open().sendall(part)

    def _receive(self, wait_s: float) -> Answer:
        """The next answer, an interim 100 included. TimeoutError when none came in ``wait_s``."""
        connection = self._open()
        connection.settimeout(wait_s)
        try:
            while self._is_to_come(event := self._http.next_event()):
                if event is h11.NEED_DATA:
                    self._http.receive_data(connection.recv(1 << 16))
        finally:
            connection.settimeout(self._options.read_timeout)
        if not isinstance(event, h11.InformationalResponse | h11.Response):
            raise ConnectionResetError("the connection ended without an answer")
        fields = {name: value.decode("latin-1") for name, value in event.headers}
        return Answer(event.status_code, event.reason.decode("latin-1"), fields.get(b"location"), self._text(event))

    def _is_to_come(self, event: object) -> bool:
        """Whether more has to be read: hints (103) and the like are no answer, and not "go on" either."""
        is_hint = isinstance(event, h11.InformationalResponse) and event.status_code != 100
        return event is h11.NEED_DATA or is_hint

    def _text(self, answer: h11.InformationalResponse | h11.Response) -> str:
        """As much of the body as came with the head: nobody waits for words."""
        if isinstance(answer, h11.InformationalResponse):
            return ""
        event = self._http.next_event()
        return bytes(event.data[:_SHOWN_BYTES]).decode(errors="replace") if isinstance(event, h11.Data) else ""

    def _open(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionResetError("the connection is closed")
        return self._socket

    def _broken(self, error: OSError) -> RemoteError:
        """What to raise when the body was not taken: a server may have answered, and said why, in the middle of it."""
        try:
            answer = self._receive(1.0)
        except _FAILURES:
            return self._failure(error)
        return (kind_of_status(answer.status, "PUT") or RetryableRemoteError)(
            f"PUT {self._url} answered {answer.status} {answer.reason} before the whole file was sent",
            service="storage",
            url=self._url,
            status=answer.status,
        )

    def _failure(self, error: Exception) -> RemoteError:
        return kind_of_failure(error)(
            f"PUT {self._url}: {failure_words(error)}: {error}", service="storage", url=self._url, status=None
        )


def _request(url: str, size_bytes: int, own_headers: Mapping[str, str]) -> h11.Request:
    parts = urlsplit(url)
    headers = {
        "Host": parts.netloc.rpartition("@")[2],
        "User-Agent": USER_AGENT,
        "Content-Length": str(size_bytes),
        "Connection": "close",
        **own_headers,
    }
    if size_bytes:  # else nothing to hold back; and XRootD 5.5, having said "go on", waits for ever for an empty body
        headers["Expect"] = "100-continue"
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    return h11.Request(method="PUT", target=target.encode(), headers=list(headers.items()))
