"""Requests for copies and deletions: what was asked, and why each part of it waits."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.base.settings import settings
from dynamo_ops.query.movement.subscription import queue_rules
from dynamo_ops.query.record.request import REQUESTS, RequestFilter
from dynamo_ops.query.waiting import with_waits
from dynamo_ops.request.registry import request_details
from dynamo_web.caller.login import needs
from dynamo_web.databases import reading
from dynamo_web.lists import Id, ListerDep, ListQuery, Names, json_answer

router = APIRouter(dependencies=[needs(Action.READ)])


class RequestQuery(ListQuery):
    """``state``: one, or ``open``. ``user``: who made it. ``dataset``, ``site``, ``group``: names or globs. ``since``:
    a date, a time, or how long ago."""

    kind: Names
    state: Names
    user: Names
    dataset: Names
    site: Names
    group: Names
    since: str | None = None


@router.get("/requests")
def list_requests(query: Annotated[RequestQuery, Query()], lister: ListerDep) -> Response:
    """Requests, newest first."""
    asked = RequestFilter(query.kind, query.state, query.user, query.dataset, query.site, query.group, query.since)
    return lister.answer(REQUESTS, asked, query)


@router.get("/requests/{request_id}")
def show_request(request_id: Id) -> Response:
    """One, with its items, and by item and site how far it is and why it waits."""
    details = request_details(reading(), request_id)
    actions = with_waits(reading(), details, queue_rules(settings()))
    return json_answer({**details.request, "actions": actions.to_dicts()})
