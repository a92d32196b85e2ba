"""What a write brings with it: JSON, of a size that is read into memory; never more of it is read."""

from __future__ import annotations

import re
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response

from dynamo_web.problem import problem

MOST_BYTES = 5 * 10**6
_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_NO_TEXT = re.compile(
    rb"(?<!\\)(?:\\\\)*(?:\\u0000|" + _HIGH + rb"(?!" + _LOW + rb")|(?<!" + _HIGH + rb")" + _LOW + rb")"
)
"""What JSON can write and no text of PostgreSQL can hold: a NUL, and half a character (one of two surrogates). Not
behind a backslash that is itself written."""


class GoneError(Exception):
    """Who was sending has gone."""


async def read_body(scope: Any, receive: Any) -> bytes | Response:
    """All of the body, or the refusal. Raises GoneError."""
    headers = Headers(scope=scope)
    try:
        declared = int(headers.get("content-length", "0"))
    except ValueError:
        return problem(400, "Content-Length is no number", kind="body")
    if declared > MOST_BYTES:
        return _too_large()
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
            return _too_large()
    body = b"".join(pieces)
    if body and headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        return problem(415, "the body must be JSON: Content-Type: application/json", kind="media-type")
    if _NO_TEXT.search(body):
        return problem(422, "there is a NUL in the body, or half a character", kind="parameter")
    return body


def replayed(body: bytes, receive: Any) -> Any:
    """ASGI's ``receive``, which gives the body that was read, and then what comes after it."""
    rest = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Any:
        return rest.pop() if rest else await receive()

    return receive_again


def _too_large() -> Response:
    return problem(
        413,
        f"a body has {MOST_BYTES // 10**6} MB at most",
        kind="body-size",
        next_step="Send less at a time. Large documents are read by `dynamo inject` and `dynamo invalidate`, on the "
        "machine of the database.",
    )
