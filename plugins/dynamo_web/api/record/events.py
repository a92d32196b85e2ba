"""What happened."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from dynamo_ops.access.actions import Action
from dynamo_ops.query.record.event import EventFilter, listing_of
from dynamo_web.caller.login import Who, needs
from dynamo_web.lists import ListerDep, ListQuery, Names

router = APIRouter()


class EventQuery(ListQuery):
    """``kind``: names or globs. ``object``: as ``request 17``. ``person``, ``group``, ``site``, ``dataset``: whom and
    what it concerns, names or globs. ``since``: a date, a time, how long ago. ``after``: a number; those behind it."""

    kind: Names
    object: Names
    person: Names
    group: Names
    site: Names
    dataset: Names
    since: str | None = None
    after: int | None = Field(None, ge=0, le=2**63 - 1)


@router.get("/events", dependencies=[needs(Action.READ)])
def list_events(query: Annotated[EventQuery, Query()], lister: ListerDep, person: Who) -> Response:
    """What happened, newest first; behind a number (``after``), in its order: who asks for what is behind the last
    that they have read misses none."""
    asked = EventFilter(
        query.kind,
        query.object,
        query.person,
        query.group,
        query.site,
        query.dataset,
        query.since,
        query.after,
        person.name,
    )
    return lister.answer(listing_of(asked), asked, query)
