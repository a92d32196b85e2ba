"""Any call of the REST API (docs/rest.md): documents, pages, streams, writes that are done once, errands."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from uuid import uuid4

import requests

from dynamo_ops.client.address import base_address, checked_key, checked_token
from dynamo_ops.client.answers import (
    CSV,
    JSON,
    NDJSON,
    Document,
    decoded,
    document_of,
    failure_in,
    items_of,
    lines_of,
    pieces_of,
    rows_of,
)
from dynamo_ops.client.errors import StillRunningError
from dynamo_ops.client.exchange import KEY, Exchange
from dynamo_ops.client.repeats import Repeats, retry_after_s

TIMEOUT_S = 90
"""Dynamo gives up a statement after a minute."""
FIRST_LOOK_S, LONGEST_LOOK_S = 1.0, 30.0
"""Pauses between two looks at an errand."""


class Caller:
    """Calls one server. Use it as a context manager, or ``close`` it.

    ``server``: ``https://dynamo.example.org``, with or without ``/dynamo/v1``. ``token``: ``dyn_…``, or another that
    Dynamo takes. ``timeout_s``: how long an answer may take. ``ca``: a file or folder of authorities, where the
    server's certificate is of none that is known everywhere. ``allow_plain_http``: the token may go over the network in
    the clear. ``repeats``: how often, and for how long, a call is sent again that was not answered.

    A parameter that is None is not sent; one that is a list is sent several times, which means *or*.
    """

    def __init__(
        self,
        server: str,
        token: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        ca: str | None = None,
        allow_plain_http: bool = False,
        repeats: Repeats | None = None,
    ) -> None:
        self._exchange = Exchange(
            base_address(server, allow_plain_http=allow_plain_http),
            None if token is None else checked_token(token),
            timeout_s=timeout_s,
            ca=ca,
            allow_plain_http=allow_plain_http,
            repeats=repeats,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.server!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Its connections; it can be used again all the same."""
        self._exchange.close()

    @property
    def server(self) -> str:
        """Where the API is, whole."""
        return self._exchange.base

    def get(self, path: str, **params: Any) -> Document:
        """One document: ``get("/datasets/17")``; of a list its page, ``{"items": […], "next": …}``."""
        return document_of(self._read(path, params))

    def pages(self, path: str, **params: Any) -> Iterator[Document]:
        """The rows of a list, page after page, each asked for when it is come to. ``limit``: rows a page, of most lists
        (100, and 1,000 at most)."""
        while True:
            page = self.get(path, **params)
            yield from items_of(page, path)
            if page.get("next") is None:
                return
            params = {**params, "cursor": page["next"]}

    def stream(self, path: str, **params: Any) -> Iterator[Document]:
        """All rows of a list in one answer, as of one moment. One at a time for everybody: read it to its end, or close
        it. Raises BrokenStreamError behind the last row that came, if these are not all."""
        with self._read(path, params, NDJSON, is_streamed=True) as response:
            yield from rows_of(response, path)

    def download(self, path: str, file: str | Path, form: Literal["csv", "ndjson"] = "csv", **params: Any) -> Path:
        """All rows of a list into a file, which is there whole or not at all; of NDJSON without the line of its end."""
        place = Path(file)
        unfinished = place.with_name(f".{place.name}.{uuid4().hex}")
        try:
            with unfinished.open("xb") as written:
                for piece in self._pieces(path, form, params):
                    written.write(piece)
            unfinished.replace(place)
        finally:
            unfinished.unlink(missing_ok=True)
        return place

    def text(self, path: str, form: str = "csv", **params: Any) -> Iterator[str]:
        """All rows of a list as text, ``csv`` or ``ndjson``, as it comes; of NDJSON with the line of its end. Raises
        BrokenStreamError behind what came, if that is not all (of CSV: as far as that can be told)."""
        with self._read(path, params, CSV if form == "csv" else NDJSON, is_streamed=True) as response:
            yield from decoded(pieces_of(response, path)) if form == "csv" else lines_of(response, path)

    def post(
        self,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        dry_run: bool = False,
        seen: str | None = None,
        **params: Any,
    ) -> Document:
        """Do something, once, however often it has to be sent; what is answered.

        ``body``: what becomes JSON, or JSON as bytes. ``key``: the Idempotency-Key; one of its own if not given. Give
        one where this program may die and be started again: the same call with the same key is done once within seven
        days. ``dry_run``: only say what would happen. ``seen``: the ``etag`` of what is decided about.
        """
        return self._write("POST", path, body, key, dry_run, seen, params)

    def put(
        self,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        dry_run: bool = False,
        seen: str | None = None,
        **params: Any,
    ) -> Document:
        """As ``post``."""
        return self._write("PUT", path, body, key, dry_run, seen, params)

    def delete(
        self,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        dry_run: bool = False,
        seen: str | None = None,
        **params: Any,
    ) -> Document:
        """As ``post``."""
        return self._write("DELETE", path, body, key, dry_run, seen, params)

    def wait(self, errand: int | Mapping[str, Any], *, timeout_s: float | None = None) -> Document:
        """Until an errand is done, by its number or by the answer that has it: all about it, with its ``answer``.

        Raises the problem in which it has failed, as if it had been answered at once; StillRunningError after
        ``timeout_s`` (None: it is waited for however long it takes).
        """
        number = errand if isinstance(errand, int) else int(errand.get("errand") or errand["id"])
        began, pause_s = time.monotonic(), FIRST_LOOK_S
        while True:
            response = self._read(f"/errands/{number}", {})
            card = document_of(response)
            if card["state"] == "done":
                return card
            if card["state"] == "failed":
                raise failure_in(card.get("problem"), number)
            look_s = max(pause_s, retry_after_s(response.headers) or 0)
            if timeout_s is not None and time.monotonic() - began + look_s > timeout_s:
                message = f"errand {number} is {card['state']} after {timeout_s:g} s"
                raise StillRunningError(message, errand=number, state=card["state"])
            time.sleep(look_s)
            pause_s = min(pause_s * 1.5, LONGEST_LOOK_S)

    def _pieces(self, path: str, form: str, params: Mapping[str, Any]) -> Iterator[bytes]:
        if form == "ndjson":
            for row in self.stream(path, **params):
                yield json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
            return
        with self._read(path, params, CSV, is_streamed=True) as response:
            yield from pieces_of(response, path)

    def _read(
        self, path: str, params: Mapping[str, Any], accept: str = JSON, *, is_streamed: bool = False
    ) -> requests.Response:
        headers = {"Accept": accept}
        return self._exchange.call("GET", path, params=_written(params), headers=headers, is_streamed=is_streamed)

    def _write(
        self,
        verb: str,
        path: str,
        body: object,
        key: str | None,
        dry_run: bool,
        seen: str | None,
        params: Mapping[str, Any],
    ) -> Document:
        headers = {"Accept": JSON, KEY: checked_key(key or str(uuid4()))}
        if seen is not None:
            headers["If-Match"] = f'"{seen}"'
        sent = body if isinstance(body, bytes) else None
        if sent is None and body is not None:
            sent = json.dumps(body, default=_text).encode()
        if sent is not None:
            headers["Content-Type"] = JSON
        asked = _written({**params, "dry_run": dry_run or None})
        return document_of(self._exchange.call(verb, path, params=asked, headers=headers, body=sent))


def _written(params: Mapping[str, Any]) -> dict[str, Any]:
    """As they stand in an address."""
    return {
        name: [_word(part) for part in value] if isinstance(value, list | tuple | set) else _word(value)
        for name, value in params.items()
        if value is not None
    }


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else _text(value)


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)
