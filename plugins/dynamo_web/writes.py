"""Acts as calls: who does it, whether it is only tried, and that it is done once however often it is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Query, Request
from fastapi.params import Depends as Dependency
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from dynamo_ops.access.actions import Action
from dynamo_ops.access.once import Answer, once
from dynamo_ops.access.problem import as_json
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.times import moment_after, time_text
from dynamo_ops.database.connection import Database
from dynamo_ops.errand.states import ErrandState
from dynamo_web.body import Sent
from dynamo_web.caller.login import Who
from dynamo_web.databases import writing
from dynamo_web.guard import DIGEST, digest_of
from dynamo_web.lists import JSON, json_answer
from dynamo_web.lists import Query as Parameters
from dynamo_web.problem import UnseenError
from dynamo_web.run.start import started

KEY = "Idempotency-Key"
REPLAY = "Idempotent-Replay"
_KEY = re.compile(r"[!-~]{1,64}")
_OF_AN_ADDRESS = "/?=&%"

Document = Mapping[str, Any]


class WriteQuery(Parameters):
    """What every write takes. ``dry_run``: only say what would happen."""

    dry_run: bool = False


Name = Annotated[str, Field(min_length=1, max_length=500)]
"""Of what is in an index, too: a longer one would not fit."""
Reason = Annotated[str, Field(max_length=2_000)]
"""Why; others read it. Whether it may be empty, the act says."""


class RemoveQuery(WriteQuery):
    """Of a write without a body. ``reason``: why."""

    reason: Reason = ""


class Body(BaseModel):
    """Base of all bodies: a field that there is not is refused, and a number is no text."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Writer:
    """One call that writes. ``by``: who does it."""

    def __init__(self, request: Request, person: Who, query: Annotated[WriteQuery, Query()]) -> None:
        self.by = replace(person, key=_key(request))
        self.is_trial = query.dry_run
        self._seen = request.headers.get("If-Match")
        self._scope = request.scope
        self._root = f"{request.scope.get('root_path', '')}/v1"

    @property
    def seen(self) -> str | None:
        """The etag of what they decide about, as they have seen it; None in a dry run, which needs none. Raises
        UnseenError."""
        if self._seen is None and not self.is_trial:
            raise UnseenError("the header If-Match is missing: which state of it have you seen?")
        return self._seen and self._seen.strip().removeprefix("W/").strip('"')

    def do(self, act: Callable[[Database], Document]) -> Response:
        """Do it, and answer what it says, with ``dry_run``."""
        return self._answered(lambda database: self._answer(act(database)))

    def create(
        self,
        act: Callable[[Database], Document],
        location: str,
        *,
        is_new: Callable[[Document], bool] = lambda _: True,
        secrets: tuple[str, ...] = (),
    ) -> Response:
        """Do it, and answer 201 with where what was made is: ``/locks/{id}``, filled in from the document.

        ``is_new``: whether it was not there before; else it is 200. ``secrets``: fields that are shown once. A dry run
        has no ``id``: what was made is gone.
        """

        def answer(database: Database) -> Answer:
            document = act(database)
            if self.is_trial:
                return self._answer({name: field for name, field in document.items() if name not in ("id", *secrets)})
            kept = None
            if secrets:
                kept = self._answer({**document, **dict.fromkeys(secrets)}).body
            status = 201 if is_new(document) else 200
            place = self._root + quote(location.format(**document), safe=_OF_AN_ADDRESS)
            return replace(self._answer(document), status=status, location=place, kept_body=kept)

        return self._answered(answer)

    def send_off(self, ask: Callable[[Database], int], *, body: Sent | None = None) -> Response:
        """What is asked for is an errand, whose id ``ask`` returns: 202 with where it is. A run is started for it.

        ``body``: a large one. One that only tries is an errand like others: it is tried by its run.
        """

        def answer(database: Database) -> Answer:
            errand_id = ask(database)
            place = f"{self._root}/errands/{errand_id}"
            document = {"errand": errand_id, "state": ErrandState.WAITING, "dry_run": self.is_trial}
            return Answer(202, as_json(document).decode(), place)

        if body is not None:
            self._scope[DIGEST] = digest_of(self._scope, body.digest)
        kept = once(writing(), self.by, self._scope[DIGEST], answer)
        document = json.loads(kept.body)
        response = json_answer({**document, **started(document["errand"], self.by.name)})
        response.status_code = kept.status
        return self._with_headers(response, kept)

    def _answer(self, document: Document) -> Answer:
        return Answer(200, as_json({**document, "dry_run": self.is_trial}).decode())

    def _answered(self, act: Callable[[Database], Answer]) -> Response:
        answer = once(writing(), self.by, self._scope[DIGEST], act, is_trial=self.is_trial)
        return self._with_headers(Response(answer.body, answer.status, media_type=JSON), answer)

    @staticmethod
    def _with_headers(response: Response, answer: Answer) -> Response:
        if answer.location:
            response.headers["Location"] = answer.location
        if answer.is_replay:
            response.headers[REPLAY] = "true"
        return response


class Remover(Writer):
    """One call that writes and has no body."""

    def __init__(self, request: Request, person: Who, query: Annotated[RemoveQuery, Query()]) -> None:
        super().__init__(request, person, query)
        self.reason = query.reason


Write = Annotated[Writer, Depends()]
Remove = Annotated[Remover, Depends()]


def does(action: Action) -> Dependency:
    """What a route does. Whether they may is asked by the act itself, of what it touches, and is in the audit."""

    def named(person: Who) -> None:
        assert person

    named.action = action  # type: ignore[attr-defined]  # as of ``login.needs``
    return Depends(named)


def is_first(document: Document) -> bool:
    """Of what is made once, and counted when it is asked again: whether it was made now."""
    return bool(document["num_asked"] == 1)


def moment_of(field: str, text: str | None) -> datetime | None:
    """A date, a moment, or in how long. Raises InventoryError that names the field."""
    try:
        return None if text is None else moment_after(text, datetime.now(UTC))
    except ValueError as error:
        raise InventoryError(f"{field} {error}", **{field: text}) from None


def end_of(text: str | None) -> datetime | None:
    """An end (``until``) that is still to come. Raises InventoryError."""
    end = moment_of("until", text)
    if end is not None and end <= datetime.now(UTC):
        raise InventoryError(f"until {text!r} is {time_text(end)}, which is over", until=text)
    return end


def _key(request: Request) -> str | None:
    """InventoryError: it cannot be a key."""
    key = request.headers.get(KEY)
    if key is not None and not _KEY.fullmatch(key):
        raise InventoryError(f"{KEY}: expected 1 to 64 printable characters without spaces", parameter=KEY)
    return key
