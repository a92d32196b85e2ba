"""root:// towards the storages: bytes, and staging by "prepare". Anonymous: the delegated proxy is not used here."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Iterator
from errno import EAGAIN
from typing import Any

from XRootD import client
from XRootD.client.flags import AccessMode, OpenFlags, PrepareFlags, QueryCode

from simgrid.fts.copier.names import ROOT, as_copied
from simgrid.fts.copier.outcome import Stat, StorageError
from simgrid.fts.copier.prepared import Judgement, collapsed, judge_archiving, judge_staging

CHUNK = 1 << 20
_TIMEOUT_S = 60
_EVICT_TIMEOUT_S = 5
_EVICTING = threading.Lock()  # XRootD 5.5's plugin stalls, and forgets some, when it is asked for many at the same time
_MODE = AccessMode.UR | AccessMode.UW | AccessMode.GR | AccessMode.OR
_MOST_ANSWERED = 2_000  # bytes: XRootD's plugin throws longer answers away, before 5.6 and by default after it
_ANSWER = 200  # bytes about a file, without its path
_ERRNO = {
    3003: (16, "Device or resource busy"),
    3009: (28, "No space left on device"),
    3010: (13, "Permission denied"),
    3011: (2, "No such file or directory"),
    3013: (93, "Protocol not supported"),
    3016: (21, "Is a directory"),
    3018: (17, "File exists"),
}


def is_root(url: str) -> bool:
    return url.partition("://")[0] in ROOT


class RootClient:
    """The storages over root://. Raises StorageError."""

    def __init__(self) -> None:
        for name, value in {
            "ConnectionWindow": 5,
            "ConnectionRetry": 1,
            "StreamErrorWindow": 1,
            "TimeoutResolution": 1,
        }.items():
            client.EnvPutInt(name, value)

    def stat(self, url: str, with_digest: bool = False) -> Stat:
        url = as_copied(url)
        server, path = _at(url)
        about = _checked(server.stat(path, timeout=_TIMEOUT_S))
        return Stat(about.size, self._adler32(url) if with_digest else None)

    def _adler32(self, url: str) -> str | None:
        server, path = _at(url)
        asked = f"{path.partition('?')[0]}?cks.type=adler32"
        try:
            answer = _checked(server.query(QueryCode.CHECKSUM, asked, timeout=_TIMEOUT_S))
        except StorageError as error:
            if error.errno == 93:
                return None
            raise
        name, _, value = bytes(answer).decode().strip("\0 \n").partition(" ")
        return value if name == "adler32" else None

    def delete(self, url: str) -> None:
        url = as_copied(url)
        server, path = _at(url)
        _checked(server.rm(path, timeout=_TIMEOUT_S))

    def get(self, url: str) -> tuple[int, Iterator[bytes]]:
        """The size and the pieces of a file."""
        file = client.File()
        _checked(file.open(as_copied(url), OpenFlags.READ, timeout=_TIMEOUT_S))
        size: int = _checked(file.stat(timeout=_TIMEOUT_S)).size

        def pieces() -> Iterator[bytes]:
            try:
                for start in range(0, size, CHUNK):
                    yield _checked(file.read(start, CHUNK, timeout=_TIMEOUT_S))
            finally:
                file.close()

        return size, pieces()

    def put(self, url: str, pieces: Iterable[bytes]) -> None:
        """Write the file; nothing of it is left when it cannot be finished."""
        url = as_copied(url)
        file = client.File()
        _checked(file.open(url, OpenFlags.DELETE | OpenFlags.UPDATE | OpenFlags.MAKEPATH, _MODE, timeout=_TIMEOUT_S))
        offset = 0
        try:
            for piece in pieces:
                _checked(file.write(piece, offset, timeout=_TIMEOUT_S))
                offset += len(piece)
            _checked(file.close(timeout=_TIMEOUT_S))
        except BaseException:
            file.close()
            server, path = _at(url)
            server.rm(path, timeout=_TIMEOUT_S)
            raise


class RootTape:
    """Staging by XRootD's "prepare" at the storage that `url` is on."""

    label = ""

    def __init__(self, url: str) -> None:
        self._server, _ = _at(url)

    def stage(self, urls: list[str]) -> str:
        """The id of a staging request for these files."""
        answer = _checked(self._server.prepare([_path(url) for url in urls], PrepareFlags.STAGE, timeout=_TIMEOUT_S))
        return bytes(answer).decode().strip("\0 \n")

    def progress(self, identifier: str, urls: list[str]) -> dict[str, dict[str, Any]]:
        """State of the files, in the words of the Tape REST API, by URL path. Each has to be as gfal2 wants it.

        gfal2 itself asks for all files of a request at once; what XRootD's plugin holds of that is asked for here.
        """
        path_of = {"/" + url.partition("?")[0].split("/", 3)[3]: _path(url) for url in urls}
        judgements: dict[str, Judgement] = {}
        for paths in _pieces(list(dict.fromkeys(path_of.values()))):
            judgements.update(zip(paths, judge_staging(self._query(identifier, paths), identifier, paths), strict=True))
        return {url_path: _state(judgements[path]) for url_path, path in path_of.items()}

    def release(self, identifier: str, urls: list[str]) -> None:  # noqa: ARG002  XRootD evicts by name
        with _EVICTING:
            _checked(self._server.prepare([_path(url) for url in urls], PrepareFlags.EVICT, timeout=_EVICT_TIMEOUT_S))

    def cancel(self, identifier: str, urls: list[str]) -> None:
        asked = [identifier, *(_path(url) for url in urls)]
        _checked(self._server.prepare(asked, PrepareFlags.CANCEL, timeout=_TIMEOUT_S))

    def locality(self, url: str) -> str:
        """Where the file is, as far as archiving asks. Raises StorageError for an answer that gfal2 does not take."""
        request, path = str(uuid.uuid4()), _path(url)  # any id will do
        (judgement,) = judge_archiving(self._query(request, [path]), request, [path])
        if judgement.errno not in (0, EAGAIN):
            raise StorageError(judgement.errno, judgement.text)
        return "DISK" if judgement.errno else "TAPE"

    def _query(self, identifier: str, paths: list[str]) -> str:
        """The plugin's answer; whatever XRootD leaves in its buffer behind the end is not looked at."""
        asked = "\n".join([identifier, *paths])
        answer = _checked(self._server.query(QueryCode.PREPARE, asked, timeout=_TIMEOUT_S))
        return bytes(answer).partition(b"\0")[0].decode(errors="replace")


def _pieces(paths: list[str]) -> Iterator[list[str]]:
    """As many at a time as one answer of the plugin holds."""
    piece: list[str] = []
    size = 0
    for path in paths:
        size += len(path.encode()) + _ANSWER
        if piece and size > _MOST_ANSWERED:
            yield piece
            piece, size = [], len(path.encode()) + _ANSWER
        piece.append(path)
    if piece:
        yield piece


def _state(judgement: Judgement) -> dict[str, Any]:
    if judgement.errno in (0, EAGAIN):
        is_online = judgement.errno == 0
        return {"state": "COMPLETED" if is_online else "STARTED", "onDisk": is_online}
    return {"state": "FAILED", "onDisk": False, "errno": judgement.errno, "error": judgement.text}


def _at(url: str) -> tuple[Any, str]:
    """The server of a URL, and the path there, query included."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    return client.FileSystem(f"{scheme}://{host}"), "/" + path.lstrip("/")


def _path(url: str) -> str:
    return collapsed(_at(url)[1].partition("?")[0])


def _checked(answer: tuple[Any, Any]) -> Any:
    status, value = answer
    if status.ok:
        return value
    if status.code == 206:
        raise StorageError(110, "Operation timed out")
    errno, text = _ERRNO.get(status.errno, (5, "Input/output error")) if status.code == 400 else (112, "Host is down")
    raise StorageError(errno, f"{text}: {status.message.strip()}" if errno in (5, 112) else text)
