"""Lists as pages (JSON) and as streams of all rows (NDJSON, CSV), whatever they list."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Annotated, Any

from fastapi import Depends, Path, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from dynamo_ops.access.person import Person
from dynamo_ops.access.problem import as_json
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.query.paging.frame import FrameListing, frame_csv, frame_ndjson, read_frame_page
from dynamo_ops.query.paging.listing import DEFAULT_LIMIT, Filter, Listing, Page, Window, read_page
from dynamo_ops.query.paging.stream import csv_text, ndjson
from dynamo_web.caller.login import Who
from dynamo_web.databases import reading
from dynamo_web.problem import BusyError

NDJSON, CSV, JSON = "application/x-ndjson", "text/csv", "application/json"
WRITERS = {NDJSON: ndjson, CSV: csv_text}
FRAME_WRITERS = {NDJSON: frame_ndjson, CSV: frame_csv}
LOOK_AGAIN_S = 0.05
PATIENCE_S = 10.0
"""Of a page: somebody opens several of them."""
STREAMS_A_PERSON, STREAMS = 1, 4
"""That a process of the API server sends at once: each holds a connection to the database until it is read."""


Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
"""In a path."""

Names = Annotated[list[str], Field(default=[])]
"""A parameter that may be given several times: or. (Of a factory FastAPI would read the signature, at each call.)"""


class Query(BaseModel):
    """Base of all parameters: one that there is not is refused, or a slip would ask for everything."""

    model_config = ConfigDict(extra="forbid")


class ListQuery(Query):
    """What every list takes. ``limit``: of a page (100, and 1,000 at most), of a stream all. ``cursor``: ``next`` of
    the page before. ``fields``: columns, in this order. ``count``: also how many rows there are, up to 10,000."""

    limit: int | None = Field(None, ge=1, le=10**9)
    cursor: str | None = None
    fields: Names
    count: bool = False

    @property
    def chosen(self) -> list[str]:
        """Repeated or with commas."""
        return [name for part in self.fields for name in part.split(",") if name]


class Places:
    """How many streams are being sent, in all and to whom."""

    def __init__(self) -> None:
        self._taken: list[str] = []
        self._lock = Lock()

    def take(self, name: str) -> None:
        """A place for somebody's stream. Raises BusyError."""
        with self._lock:
            if self._taken.count(name) >= STREAMS_A_PERSON:
                raise BusyError(f"{name} has a stream under way: one at a time", person=name)
            if len(self._taken) >= STREAMS:
                raise BusyError(f"{STREAMS} streams are under way", num_streams=STREAMS)
            self._taken.append(name)

    def take_when_free(self, name: str, patience_s: float) -> None:
        """The same, but somebody waits for what they have under way. Raises BusyError where it takes longer."""
        until = time.monotonic() + patience_s
        while True:
            try:
                return self.take(name)
            except BusyError:
                if time.monotonic() >= until:
                    raise
                time.sleep(LOOK_AGAIN_S)

    def give_back(self, name: str) -> None:
        """The stream is over, or broke off."""
        with self._lock:
            self._taken.remove(name)

    @contextmanager
    def kept_on_success(self, name: str) -> Iterator[None]:
        """A place is taken, and given back at once if the stream cannot begin."""
        self.take(name)
        try:
            yield
        except BaseException:
            self.give_back(name)
            raise


PLACES = Places()


class Stream(StreamingResponse):
    """Text in pieces; its place and its transaction are given back when it is read, or when who reads goes away."""

    def __init__(self, pieces: Generator[str], media_type: str, name: str) -> None:
        super().__init__(pieces, media_type=media_type)
        self._pieces, self._name = pieces, name

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            PLACES.give_back(self._name)
            self._pieces.close()


class Lister:
    """Answers a list in the form that the request accepts."""

    def __init__(self, request: Request, person: Who) -> None:
        self._media_type = accepted(request.headers.get("accept", ""))
        self._person: Person = person

    def answer(self, listing: Listing[Filter], asked: Filter, query: ListQuery) -> Response:
        """``{"items": […], "next": cursor or null}`` (with ``count``: a number, or "more"), or a stream."""
        if self._media_type != JSON:
            write = WRITERS[self._media_type]
            return self._streamed(lambda: write(reading(), listing, asked, query.chosen, limit=query.limit), query)
        window = self._window(query)
        return _page_answer(read_page(reading(), listing, asked, window))

    def csv(self, listing: Listing[Filter], asked: Filter, file_name: str) -> Response:
        """All of a list, as a file to keep."""
        return self._file(lambda: csv_text(reading(), listing, asked), file_name)

    def csv_frame(self, listing: Callable[[], FrameListing], file_name: str) -> Response:
        """The same of rows of a frame."""
        return self._file(lambda: frame_csv(listing()), file_name)

    def answer_frame(self, listing: Callable[[], FrameListing], query: ListQuery) -> Response:
        """The same of rows of a frame. It is read whole, more or less: as streams are, one for somebody at a time."""
        if self._media_type != JSON:
            return self._streamed(
                lambda: FRAME_WRITERS[self._media_type](listing(), query.chosen, limit=query.limit), query
            )
        window = self._window(query)
        with self.heavy():
            return _page_answer(read_frame_page(reading(), listing(), window))

    @contextmanager
    def heavy(self, patience_s: float = 0) -> Iterator[None]:
        """What takes as much as a stream: one for somebody at a time. Raises BusyError, after so long."""
        PLACES.take_when_free(self._person.name, patience_s)
        try:
            yield
        finally:
            PLACES.give_back(self._person.name)

    def _file(self, write: Callable[[], Iterator[str]], file_name: str) -> Response:
        with PLACES.kept_on_success(self._person.name):
            stream = Stream(_generator(write()), CSV, self._person.name)
            stream.headers["Content-Disposition"] = f'attachment; filename="{file_name}"'
            return stream

    def _window(self, query: ListQuery) -> Window:
        limit = DEFAULT_LIMIT if query.limit is None else query.limit
        return Window(limit, query.cursor, query.chosen, with_count=query.count)

    def _streamed(self, write: Callable[[], Iterator[str]], query: ListQuery) -> Response:
        if query.cursor is not None or query.count:
            raise InventoryError("a stream has no cursor and no count: it is all rows", parameter="cursor, count")
        with PLACES.kept_on_success(self._person.name):
            return Stream(_generator(write()), self._media_type, self._person.name)


ListerDep = Annotated[Lister, Depends()]


def json_answer(document: object) -> Response:
    """A document of ours."""
    return Response(as_json(document), media_type=JSON)


def rows_answer(rows: Sequence[dict[str, Any]]) -> Response:
    """A whole list that is never long: the form of a page, the only one."""
    return json_answer({"items": rows, "next": None})


def _page_answer(page: Page) -> Response:
    document: dict[str, Any] = {"items": page.records(), "next": page.next}
    if page.is_counted:
        document["count"] = "more" if page.count is None else page.count
    return json_answer(document)


def accepted(header: str) -> str:
    """The first of our forms that an Accept header names; JSON if it names none. Weights are not looked at."""
    for part in header.split(","):
        name = part.split(";")[0].strip().lower()
        if name in (NDJSON, CSV, JSON):
            return name
    return JSON


def _generator(pieces: Iterator[str]) -> Generator[str]:
    """Can be closed, whatever ``pieces`` is."""
    yield from pieces
