"""Requests: what people asked for, how far it is, and why each part of it waits."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.base.settings import settings
from dynamo_ops.query.movement.subscription import queue_rules
from dynamo_ops.query.record.request import OPEN, REQUESTS, RequestFilter
from dynamo_ops.query.waiting import with_waits
from dynamo_ops.request.registry import request_details
from dynamo_ops.request.states import RequestKind, RequestState
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import Id, ListerDep
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import to_request, to_site
from dynamo_web.pages.part.listed import Chosen, ListPage
from dynamo_web.pages.part.table import Choice, Column, Table, globs

router = APIRouter(dependencies=[needs(Action.READ)])


def _asked(chosen: Chosen) -> RequestFilter:
    return RequestFilter(
        globs(chosen["kind"]),
        globs(chosen["state"]),
        globs(chosen["user"]),
        globs(chosen["dataset"]),
        globs(chosen["site"]),
        globs(chosen["group"]),
        chosen["since"] or None,
    )


LIST = ListPage(
    "requests",
    "requests",
    "Requests",
    "requests",
    REQUESTS,
    (
        Column("id", "request", link=to_request),
        Column("kind", "asks for"),
        Column("state", "state", "state"),
        Column("items", "what"),
        Column("sites", "where"),
        Column("num_copies", "copies", "number"),
        Column("group", "for group"),
        Column("requested_by", "by"),
        Column("created_at", "made", "moment"),
        Column("closed_because", "closed because"),
    ),
    _asked,
    (
        Choice("state", "State", (OPEN, *RequestState)),
        Choice("kind", "Asks for", tuple(RequestKind)),
        Choice("user", "By", hint="a name"),
        Choice("dataset", "Dataset", hint="a name or glob"),
        Choice("site", "Site", hint="T2_*"),
        Choice("group", "Group"),
        Choice("since", "Made since", hint="2026-01-31, or 30d"),
    ),
)


@router.get("/requests")
def list_requests(request: Request, person: Who, lister: ListerDep) -> Response:
    """Newest first."""
    return LIST.answer(request, person, lister)


@router.get("/requests/{request_id}")
def show_request(request: Request, person: Who, request_id: Id) -> Response:
    """One: by item and site how far it is, and why it waits."""
    details = request_details(reading(), request_id)
    parts = with_waits(reading(), details, queue_rules(settings())).to_dicts()
    columns = (
        Column("item", "what"),
        Column("site", "where", link=to_site),
        Column("state", "state", "state"),
        Column("num_files_done", "files done", "number", note="there, of a copy; gone, of a deletion"),
        Column("num_files", "of", "number"),
        Column("done_bytes", "done", "size"),
        Column("size_bytes", "of", "size"),
        Column("waits", "waits because"),
        Column("reason", "because"),
    )
    table = Table(columns, parts, nothing="Nothing is done for it yet: the next cycle looks at it.")
    return page(request, person, "requests", "request.html", one=details.request, table=table)
