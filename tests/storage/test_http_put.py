"""The pushed PUT, against servers that misbehave. Each is a few lines on a socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from dynamo_ops.base.errors import CredentialError, PermanentRemoteError, RemoteError, RetryableRemoteError
from dynamo_ops.base.http.redirect import Hosts
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.storage.http_put import HttpPut
from dynamo_ops.storage.protocol import StorageOptions
from dynamo_ops.storage.webdav import WebDavStorage

OPTIONS = StorageOptions(connect_timeout=2, read_timeout=1, token="secret")
DATA = b"0123456789" * 100
Behaviour = Callable[[socket.socket, bytes], None]


def hang_up(*_: object) -> None:
    """The connection ends without an answer."""


class Server:
    """Hands each connection to ``behave`` once its head is read; keeps the heads."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.behave: Behaviour = hang_up
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/store/f"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(1)
            self.heads.append(head.decode())
            self.behave(connection, head)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def say(connection: socket.socket, *lines: str) -> None:
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())


def answering(*lines: str) -> Behaviour:
    return lambda connection, _: say(connection, *lines)


def receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        received += connection.recv(size - len(received))
    return received


def put(server: Server, data: bytes = DATA) -> tuple[HttpPut, object]:
    sent = HttpPut(OPTIONS, {"Authorization": "Bearer secret"}, Hosts((), "storages"))
    return sent, sent.begin(server.url, len(data))


def test_body_goes_when_the_server_says_so(server: Server) -> None:
    bodies = []

    def behave(connection: socket.socket, head: bytes) -> None:
        say(connection, "HTTP/1.1 100 Continue")
        bodies.append(receive(connection, len(DATA)))
        say(connection, "HTTP/1.1 201 Created")

    server.behave = behave
    sent, early = put(server)
    assert early is None
    for start in range(0, len(DATA), 100):
        sent.send(DATA[start : start + 100])
    assert sent.answer().status == 201
    assert bodies == [DATA]
    assert "Expect: 100-continue" in server.heads[0]


def test_server_that_does_not_know_expect_gets_the_body_after_a_while(server: Server) -> None:
    def behave(connection: socket.socket, head: bytes) -> None:
        receive(connection, len(DATA))
        say(connection, "HTTP/1.1 204 No Content")

    server.behave = behave
    sent, early = put(server)
    assert early is None
    sent.send(DATA)
    assert sent.answer().status == 204


def test_late_go_on_is_not_taken_for_the_answer(server: Server) -> None:
    def behave(connection: socket.socket, head: bytes) -> None:
        receive(connection, len(DATA))
        say(connection, "HTTP/1.1 100 Continue", "", "HTTP/1.1 201 Created")

    server.behave = behave
    sent, _ = put(server)
    sent.send(DATA)
    assert sent.answer().status == 201


def test_a_hint_is_neither_the_answer_nor_go_on(server: Server) -> None:
    server.behave = answering("HTTP/1.1 103 Early Hints", "", "HTTP/1.1 409 Conflict")
    _, early = put(server)
    assert getattr(early, "status", None) == 409


def test_refusal_comes_before_the_body(server: Server) -> None:
    server.behave = answering("HTTP/1.1 409 Conflict")
    _, early = put(server)
    assert getattr(early, "status", None) == 409


def test_redirect_is_followed_to_a_server_of_the_site_and_the_token_with_it(server: Server) -> None:
    door = Server()
    door.behave = answering("HTTP/1.1 307 Temporary Redirect", f"Location: {server.url}?uuid=1")

    def behave(connection: socket.socket, head: bytes) -> None:
        say(connection, "HTTP/1.1 100 Continue")
        receive(connection, len(DATA))
        say(connection, "HTTP/1.1 201 Created")

    server.behave = behave
    sent, early = put(door)
    assert early is None
    sent.send(DATA)
    assert sent.answer().status == 201
    assert "Bearer secret" in door.heads[0]
    assert "Bearer secret" in server.heads[0]
    assert server.heads[0].startswith("PUT /store/f?uuid=1 ")
    door.close()


def test_redirects_end(server: Server) -> None:
    server.behave = answering("HTTP/1.1 307 Again", f"Location: {server.url}")
    with pytest.raises(PermanentRemoteError, match="redirects"):
        put(server)


def test_server_that_stops_reading_does_not_hang_us(server: Server) -> None:
    release = threading.Event()

    def behave(connection: socket.socket, head: bytes) -> None:
        say(connection, "HTTP/1.1 100 Continue")
        release.wait(30)

    server.behave = behave
    sent, _ = put(server, bytes(50_000_000))
    with pytest.raises(RetryableRemoteError, match="timed out"):
        sent.send(bytes(50_000_000))
    release.set()


def test_server_that_never_answers_does_not_hang_us(server: Server) -> None:
    release = threading.Event()

    def behave(connection: socket.socket, head: bytes) -> None:
        say(connection, "HTTP/1.1 100 Continue")
        release.wait(30)

    server.behave = behave
    sent, _ = put(server)
    sent.send(DATA)
    with pytest.raises(RetryableRemoteError, match="timed out"):
        sent.answer()
    release.set()


@pytest.mark.parametrize(
    ("status", "error"),
    [("507 Insufficient Storage", RetryableRemoteError), ("413 Too Large", PermanentRemoteError)],
)
def test_answer_in_the_middle_of_the_body_is_told(server: Server, status: str, error: type[RemoteError]) -> None:
    def behave(connection: socket.socket, head: bytes) -> None:
        say(connection, "HTTP/1.1 100 Continue")
        connection.recv(1000)
        say(connection, f"HTTP/1.1 {status}")
        connection.shutdown(socket.SHUT_WR)
        time.sleep(0.2)

    server.behave = behave
    sent, _ = put(server, bytes(80_000_000))
    with pytest.raises(error):
        sent.send(bytes(80_000_000))


def test_cut_connection_is_retryable(server: Server) -> None:
    with pytest.raises(RetryableRemoteError, match="no answer"):
        put(server)


def test_garbage_is_retryable(server: Server) -> None:
    server.behave = answering("what?")
    with pytest.raises(RetryableRemoteError):
        put(server)


def test_directories_are_made_where_the_storage_makes_none(server: Server) -> None:
    made: set[str] = set()

    def behave(connection: socket.socket, head: bytes) -> None:
        method, path, _ = head.decode().split(" ", 2)
        parent = path.rstrip("/").rpartition("/")[0]
        if method == "MKCOL":
            made_now = parent in {*made, ""}
            made.update([path.rstrip("/")] if made_now else [])
            say(connection, f"HTTP/1.1 {'201 Created' if made_now else '409 Conflict'}", "Connection: close")
        elif parent in made:
            say(connection, "HTTP/1.1 100 Continue")
            receive(connection, len(DATA))
            say(connection, "HTTP/1.1 201 Created")
        else:
            say(connection, "HTTP/1.1 409 Conflict")

    server.behave = behave
    prefix = server.url.removesuffix("/store/f")
    storage = WebDavStorage(Endpoint("T2_A", "http", prefix), OPTIONS)
    opened = storage.open_put("/store/a/b/f", len(DATA))
    opened.send(DATA)
    assert opened.answer().status == 201
    assert made == {"/store", "/store/a", "/store/a/b"}


def test_forbidden_is_a_credential_error(server: Server) -> None:
    server.behave = answering("HTTP/1.1 403 Forbidden")
    prefix = server.url.removesuffix("/store/f")
    with pytest.raises(CredentialError, match="403"):
        WebDavStorage(Endpoint("T2_A", "http", prefix), OPTIONS).upload("/store/f", 3)
