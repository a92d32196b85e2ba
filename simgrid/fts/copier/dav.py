"""HTTP towards the storages, with the job owner's delegated proxy; failures in FTS's terms. root:// is handed on."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from simgrid.fts.copier.outcome import Stat as Stat
from simgrid.fts.copier.outcome import StorageError as StorageError
from simgrid.fts.copier.xroot import RootClient, is_root

CHUNK = 1 << 18
_TIMEOUT_S = 60.0
Address = tuple[str, int, bool]  # host, port, whether for uploads
_ERRNO = {
    401: (13, "Permission denied"),
    403: (13, "Permission denied"),
    404: (2, "No such file or directory"),
    409: (17, "File exists"),
    423: (16, "Device or resource busy"),
    507: (28, "No space left on device"),
}


class StorageClient:
    """Connections of one thread to the storages: two kept for each host and port.

    Uploads have their own, for while one runs the other may still be delivering the file that is uploaded.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._connections: dict[Address, http.client.HTTPSConnection] = {}
        self._root = RootClient()

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def stat(self, url: str, with_digest: bool = False) -> Stat:
        if is_root(url):
            return self._root.stat(url, with_digest)
        headers = {"Want-Digest": "adler32"} if with_digest else {}
        try:
            response = self._ask("HEAD", url, headers=headers)
        except StorageError as error:
            if not with_digest or error.status != 405:
                raise
            return self.stat(url)  # it tells none
        response.read()
        digest = response.headers.get("Digest", "")
        return Stat(int(response.headers["Content-Length"]), digest.partition("=")[2] or None)

    def delete(self, url: str) -> None:
        if is_root(url):
            self._root.delete(url)
            return
        self._ask("DELETE", url).read()

    def get(self, url: str) -> tuple[int, Iterator[bytes]]:
        """The size and the pieces of a file; the pieces must be taken before the next call to this host."""
        if is_root(url):
            return self._root.get(url)
        response = self._ask("GET", url)
        size = int(response.headers["Content-Length"])

        def pieces() -> Iterator[bytes]:
            try:
                while piece := response.read(CHUNK):
                    yield piece
            except (OSError, http.client.HTTPException) as error:
                raise StorageError(104, "Connection reset by peer") from error

        return size, pieces()

    def put(self, url: str, size: int, pieces: Iterable[bytes]) -> None:
        if is_root(url):
            self._root.put(url, pieces)
            return
        self._ask("PUT", url, body=pieces, headers={"Content-Length": str(size)}).read()

    def json(self, method: str, url: str, document: Any = None) -> Any:
        body = None if document is None else json.dumps(document).encode()
        content = self._ask(method, url, body=body, headers={"Content-Type": "application/json"}).read()
        return json.loads(content) if content else None

    def _ask(
        self, method: str, url: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        """The response, its body still unread. Raises StorageError for everything but 2xx."""
        parts = urlsplit(url)
        if parts.scheme not in ("davs", "https") or parts.hostname is None:
            raise StorageError(93, f"Protocol not supported or path/url invalid: {url}")
        address = (parts.hostname, parts.port or 443, method == "PUT")
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        may_repeat = address in self._connections and (body is None or isinstance(body, bytes))
        try:
            response = self._exchange(address, method, path, body, headers or {})
        except StorageError:
            if not may_repeat:
                raise
            response = self._exchange(address, method, path, body, headers or {})  # the kept connection had gone stale
        if not 200 <= response.status < 300:
            response.read()
            errno, text = _ERRNO.get(response.status, (112, f"HTTP {response.status} : {response.reason}"))
            raise StorageError(errno, text, response.status)
        return response

    def _exchange(
        self, address: Address, method: str, path: str, body: Any, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        connection = self._connections.get(address)
        if connection is None:
            connection = http.client.HTTPSConnection(*address[:2], timeout=_TIMEOUT_S, context=self._context)
            self._connections[address] = connection
        try:
            connection.request(method, path, body=body, headers=headers)
            return connection.getresponse()
        except StorageError:
            self._drop(address)
            raise
        except (OSError, http.client.HTTPException) as error:
            self._drop(address)
            raise _unreachable(error) from error
        except BaseException:
            self._drop(address)
            raise

    def _drop(self, address: Address) -> None:
        self._connections.pop(address).close()


def _unreachable(error: Exception) -> StorageError:
    if isinstance(error, socket.timeout | TimeoutError):
        return StorageError(110, "Operation timed out")
    if isinstance(error, ConnectionRefusedError):
        return StorageError(112, "Result Could not connect to server after 1 attempts")
    return StorageError(112, f"Result {type(error).__name__} after 1 attempts")


class StorageClients:
    """A client for each thread and proxy."""

    def __init__(self, authority: Path) -> None:
        self._authority = authority
        self._local = threading.local()

    def of(self, proxy: Path | None) -> StorageClient:
        """This thread's client that acts with `proxy`, anonymously when None. A renewed proxy gets a new client."""
        clients: dict[Path | None, tuple[float, StorageClient]] = self._local.__dict__.setdefault("clients", {})
        stamp = proxy.stat().st_mtime if proxy is not None else 0.0
        kept = clients.get(proxy)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        context = ssl.create_default_context(cafile=str(self._authority))
        if proxy is not None:
            context.load_cert_chain(proxy)
        clients[proxy] = (stamp, StorageClient(context))
        return clients[proxy][1]
