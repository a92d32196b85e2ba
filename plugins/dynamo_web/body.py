"""What a write brings with it: JSON, of a size that is read into memory; never more of it is read. A larger document,
which a run takes in, is passed through a file, compressed."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from dynamo_ops.base.text import is_storable
from dynamo_ops.errand.store import PIECE_BYTES, Packer
from dynamo_web.problem import problem

MOST_BYTES = 5 * 10**6
"""Of what a request does itself."""
MOST_LARGE_BYTES = 256 * 10**6
"""Of what a run does: it reads the document whole, and needs some five times as much memory."""
LARGE_PATHS = ("/v1/injections", "/v1/invalidations")
"""Where more than ``MOST_BYTES`` may be sent."""
LARGE = "dynamo_large"
"""In the scope of a write whose body is left to its route: how large it says to be."""


class GoneError(Exception):
    """Who was sending has gone."""


@dataclass(frozen=True)
class Sent:
    """A large body. ``digest``: SHA-256 of it as it came."""

    file: Any
    size_bytes: int
    digest: bytes

    def pieces(self) -> Iterator[bytes]:
        """Compressed, from its beginning."""
        self.file.seek(0)
        while piece := self.file.read(PIECE_BYTES):
            yield piece


def declared_bytes(scope: Any) -> int | Response:
    """How large a body says to be (0: it does not say), or the refusal."""
    try:
        return int(Headers(scope=scope).get("content-length", "0"))
    except ValueError:
        return problem(400, "Content-Length is no number", kind="body")


def is_large(scope: Any, size_bytes: int) -> bool:
    """Whether a body is left to its route, which takes it in pieces."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return size_bytes > MOST_BYTES and scope["method"] == "POST" and path in LARGE_PATHS


def refusal_of_large(scope: Any, size_bytes: int) -> Response | None:
    """Before anything is read of it."""
    if size_bytes > MOST_LARGE_BYTES:
        return _too_large(MOST_LARGE_BYTES)
    return None if _is_json(scope) else _no_json()


async def read_body(scope: Any, receive: Any) -> bytes | Response:
    """All of the body, or the refusal. Raises GoneError."""
    declared = declared_bytes(scope)
    if not isinstance(declared, int):
        return declared
    if declared > MOST_BYTES:
        return _too_large(MOST_BYTES)
    pieces: list[bytes] = []
    size_bytes = 0
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise GoneError
        pieces.append(message.get("body", b""))
        size_bytes += len(pieces[-1])
        more = message.get("more_body", False)
        if size_bytes > MOST_BYTES:
            return _too_large(MOST_BYTES)
    body = b"".join(pieces)
    if body and not _is_json(scope):
        return _no_json()
    if not is_storable(body):
        return problem(422, "there is a NUL in the body, or half a character", kind="parameter")
    return body


def replayed(body: bytes, receive: Any) -> Any:
    """ASGI's ``receive``, which gives the body that was read, and then what comes after it."""
    rest = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Any:
        return rest.pop() if rest else await receive()

    return receive_again


@asynccontextmanager
async def sent(request: Request) -> AsyncIterator[Sent]:
    """A large body as it comes in, compressed into a file that nobody else sees. Raises GoneError, also where more
    comes than was declared."""
    digest, size_bytes, packer = sha256(), 0, Packer()
    with tempfile.TemporaryFile() as file:
        try:
            async for part in request.stream():
                digest.update(part)
                size_bytes += len(part)
                if size_bytes > request.scope[LARGE]:
                    raise GoneError
                file.write(packer.pack(part))
        except ClientDisconnect:
            raise GoneError from None
        file.write(packer.flush())
        yield Sent(file, size_bytes, digest.digest())


def _is_json(scope: Any) -> bool:
    return Headers(scope=scope).get("content-type", "").split(";")[0].strip().lower() == "application/json"


def _no_json() -> Response:
    return problem(415, "the body must be JSON: Content-Type: application/json", kind="media-type")


def _too_large(most_bytes: int) -> Response:
    return problem(
        413,
        f"a body has {most_bytes // 10**6} MB at most",
        kind="body-size",
        next_step="Send less at a time. Injections and invalidations may have more, if they say how much by "
        "Content-Length; still larger ones are read by `dynamo inject` and `dynamo invalidate`, on the machine of the "
        "database.",
    )
