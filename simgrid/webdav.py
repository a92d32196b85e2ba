"""Storage sites: WebDAV over HTTPS on a directory, with the WLCG Tape REST API where there is tape behind.

Departures from RFC 4918, all in line with grid storages: PUT makes the parents it needs; DELETE of a collection that
still holds something is refused with 409 instead of removing the tree; PROPFIND of depth infinity is refused with 403.
"""

# ruff: noqa: ARG002  all handlers share one signature

from __future__ import annotations

import os
import re
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from xml.sax.saxutils import escape

from simgrid.faults import Faults
from simgrid.http import Request, Response, Routes, Service
from simgrid.storage import OutsideStorageError, Storage, StorageFullError
from simgrid.tape import Tape
from simgrid.taperest import TapeRest, lfn_below

_READING = ("GET", "HEAD", "PROPFIND", "OPTIONS", "POST")


class Site(Service):
    """One storage site. `tape` is None for a disk site."""

    server_header = "pocket-storage/1.0"

    def __init__(
        self,
        name: str,
        prefix: str,
        storage: Storage,
        tape: Tape | None,
        faults: Faults,
        anonymous_writes: bool = False,
    ) -> None:
        self.name = name
        self.prefix = prefix
        self.storage = storage
        self.tape = tape
        self._faults = faults
        self._anonymous_writes = anonymous_writes
        self._methods: dict[str, Callable[[Request, str], Response]] = {
            "GET": self._get,
            "HEAD": self._head,
            "PUT": self._put,
            "DELETE": self._delete,
            "MOVE": self._move,
            "MKCOL": self._mkcol,
            "PROPFIND": self._propfind,
            "OPTIONS": self._options,
        }
        self._tape_routes = TapeRest(name, prefix, tape).routes() if tape is not None else Routes()

    def is_down(self) -> bool:
        return self._faults.site(self.name).down

    def delay_s(self) -> float:
        return self._faults.site(self.name).slow_s

    def handle(self, request: Request) -> Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        handler, arguments, _ = self._tape_routes.find(request.method, request.path)
        if handler is not None:
            return handler(request, **arguments)
        lfn = self.lfn(request.path)
        method = self._methods.get(request.method)
        if method is None:
            return _text(405, f"{request.method} is not supported")
        if lfn is None:
            return _text(404, f"nothing here outside {self.prefix}")
        try:
            return method(request, lfn)
        except OutsideStorageError:
            return _text(403, "the path leads outside the storage")
        except StorageFullError:
            return _text(507, f"no space left at {self.name}")
        except FileNotFoundError:
            return _text(404, f"no such file: {request.path}")
        except (NotADirectoryError, FileExistsError, IsADirectoryError):
            return _text(409, f"a file is where a directory should be, or the reverse: {request.path}")

    def lfn(self, path: str) -> str | None:
        """The LFN of a URL path, None when it is not below the site's prefix."""
        return lfn_below(self.prefix, path)

    def _refusal(self, request: Request) -> Response | None:
        faults = self._faults.site(self.name)
        if self._faults.spend(faults, "http_500"):
            return _text(500, "internal error")
        if self._faults.strikes(faults.fail_fraction):
            return _text(503, f"{self.name} is overloaded")
        if request.method in _READING:
            return None
        if request.dn is None and not self._anonymous_writes:
            return _text(403, "permission denied: writing and deleting need a client certificate")
        if faults.refuses in ("permission", "directory"):
            return _text(403, f"permission denied: {self.name} refuses")
        if faults.read_only:
            return _text(403, f"permission denied: {self.name} is read-only")
        if faults.full and request.method == "PUT":
            return _text(507, f"no space left at {self.name}")
        return None

    def _options(self, request: Request, lfn: str) -> Response:
        return Response(200, headers={"DAV": "1", "Allow": ", ".join(self._methods)})

    def _get(self, request: Request, lfn: str) -> Response:
        if self.tape is not None and self.storage.path(lfn).is_file() and not self.tape.is_online(lfn):
            return _text(423, f"{request.path} is nearline (on tape only); stage it first")
        response = self._head(request, lfn)
        if response.status != 200:
            return response
        first, last = _span(request, response.length)
        if first > last and first:
            return Response(416, headers={"Content-Range": f"bytes */{response.length}"})
        response.file = open(self.storage.path(lfn), "rb")  # noqa: SIM115  closed by the server
        if (first, last) != (0, response.length - 1):
            response.file.seek(first)
            response.status = 206
            response.headers["Content-Range"] = f"bytes {first}-{last}/{response.length}"
            response.length = last - first + 1
            response.headers["Content-Length"] = str(response.length)
        return response

    def _head(self, request: Request, lfn: str) -> Response:
        path = self.storage.path(lfn)
        if path.is_dir():
            return _text(405, "a collection has no content; use PROPFIND")
        status = path.stat()
        is_asked = "adler32" in (request.headers.get("Want-Digest") or "").lower()
        silence = self._faults.site(self.name).no_checksums
        if is_asked and silence == "405":
            return _text(405, "Want-Digest is not supported")
        headers = {
            "Last-Modified": formatdate(status.st_mtime, usegmt=True),
            "Accept-Ranges": "bytes",
            "Content-Length": str(status.st_size),
        }
        if is_asked and not silence:
            headers["Digest"] = f"adler32={self.storage.adler32(lfn)}"
        if self.tape is not None:
            headers["X-Locality"] = "ONLINE" if self.tape.is_online(lfn) else "NEARLINE"
        return Response(200, content_type="application/octet-stream", headers=headers, length=status.st_size)

    def _put(self, request: Request, lfn: str) -> Response:
        if lfn.endswith("/") or self.storage.path(lfn).is_dir():
            return _text(409, f"{request.path} is a collection")
        corrupt = self._faults.spend(self._faults.site(self.name), "corrupt_writes")
        is_new = self.storage.write(lfn, request.chunks(), corrupt)
        if self.tape is not None:
            self.tape.uploaded(lfn)
        return Response(201 if is_new else 204)

    def _delete(self, request: Request, lfn: str) -> Response:
        path = self.storage.path(lfn)
        if path == self.storage.root:
            return _text(403, "the root stays")
        if not self._matches(request, path):
            return _text(412, f"{request.path} is another than asked for")
        try:
            self.storage.delete(lfn)
        except OSError as error:
            if isinstance(error, FileNotFoundError | NotADirectoryError):
                return _text(404, f"no such file: {request.path}")
            return _text(409, f"collection is not empty: {request.path}")
        if self.tape is not None:
            self.tape.deleted(lfn)
        return Response(204)

    def _matches(self, request: Request, path: Path) -> bool:
        wanted = request.headers.get("If-Match")
        try:
            return wanted in (None, "*", _tag(path.stat()))
        except OSError:
            return True  # what is not there says so itself

    def _move(self, request: Request, lfn: str) -> Response:
        to_lfn = self.lfn(unquote(urlsplit(request.headers.get("Destination") or "").path))
        if to_lfn is None:
            return _text(403, f"the destination is outside {self.prefix}")
        if request.headers.get("Overwrite") == "F" and self.storage.path(to_lfn).exists():
            return _text(412, "the destination exists")
        if not self.storage.path(to_lfn).parent.is_dir():
            return _text(409, "the destination's parent does not exist")
        is_new = self.storage.move(lfn, to_lfn)
        if self.tape is not None:
            self.tape.deleted(lfn)
            self.tape.uploaded(to_lfn)
        return Response(201 if is_new else 204)

    def _mkcol(self, request: Request, lfn: str) -> Response:
        path = self.storage.path(lfn)
        if path.exists():
            return _text(405, f"{request.path} exists")
        if not path.parent.is_dir():
            return _text(409, f"the parent of {request.path} does not exist")
        path.mkdir(exist_ok=True)
        return Response(201)

    def _propfind(self, request: Request, lfn: str) -> Response:
        depth = (request.headers.get("Depth") or "infinity").lower()
        if depth not in ("0", "1"):
            return Response(
                403,
                b'<?xml version="1.0"?><d:error xmlns:d="DAV:"><d:propfind-finite-depth/></d:error>',
                "application/xml; charset=utf-8",
            )
        path = self.storage.path(lfn)
        rows = [self._properties(path, lfn.rstrip("/"))]
        if depth == "1" and path.is_dir():
            for entry in sorted(path.iterdir()):
                try:
                    rows.append(self._properties(entry, f"{lfn.rstrip('/')}/{entry.name}"))
                except FileNotFoundError:
                    continue  # deleted while we listed
        body = ['<?xml version="1.0" encoding="utf-8"?>\n<d:multistatus xmlns:d="DAV:">', *rows, "</d:multistatus>\n"]
        return Response(207, "".join(body).encode(), "application/xml; charset=utf-8")

    def _properties(self, path: Path, lfn: str) -> str:
        status = path.stat()
        is_dir = path.is_dir()
        href = escape(quote(os.fsencode(self.prefix + lfn + ("/" if is_dir else ""))))
        shown = "".join(char for char in path.name if char.isprintable())
        kind = "<d:collection/>" if is_dir else ""
        length = "" if is_dir else f"<d:getcontentlength>{status.st_size}</d:getcontentlength>"
        return (
            f"<d:response><d:href>{href}</d:href><d:propstat><d:prop><d:displayname>{escape(shown)}"
            f"</d:displayname><d:resourcetype>{kind}</d:resourcetype>{length}<d:getlastmodified>"
            f"{formatdate(status.st_mtime, usegmt=True)}</d:getlastmodified>"
            f"<d:getetag>{escape(_tag(status))}</d:getetag></d:prop>"
            f"<d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
        )


def _tag(status: os.stat_result) -> str:
    return f'"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"'


def _span(request: Request, size: int) -> tuple[int, int]:
    """First and last byte that are asked for: all without a range, or with one of another form than ``bytes=N-M``."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range") or "")
    if match is None:
        return 0, size - 1
    return int(match[1]), min(int(match[2] or size - 1), size - 1)


def _text(status: int, text: str) -> Response:
    return Response(status, f"{text}\n".encode(), "text/plain; charset=utf-8")
