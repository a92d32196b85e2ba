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
from dynamo_ops.request.states import OPEN_REQUESTS, RequestKind, RequestState
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import Id, ListerDep
from dynamo_web.pages.part.act import REASON, Act, Field, FieldKind, offered
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import address, to_request, to_site, to_subscription
from dynamo_web.pages.part.listed import Chosen, Listed
from dynamo_web.pages.part.plot import Plot, PlotKind
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


LIST = Listed(
    tab="requests",
    path="requests",
    title="Requests",
    noun="requests",
    listing=REQUESTS,
    columns=(
        Column("id", "request", link=to_request),
        Column("kind", "asks for"),
        Column("state", "state", "state"),
        Column("items", "what", "long"),
        Column("sites", "where"),
        Column("num_copies", "copies", "number"),
        Column("group", "for group"),
        Column("requested_by", "by"),
        Column("created_at", "made", "moment"),
        Column("closed_because", "closed because", "long"),
    ),
    asked=_asked,
    choices=(
        Choice("state", "State", (OPEN, *RequestState)),
        Choice("kind", "Asks for", tuple(RequestKind)),
        Choice("user", "By", hint="a name"),
        Choice("dataset", "Dataset", hint="a name or glob"),
        Choice("site", "Site", hint="T2_*"),
        Choice("group", "Group"),
        Choice("since", "Made since", hint="2026-01-31, or 30d"),
    ),
    template="requests.html",
)
PARTS = (
    Column("item", "what"),
    Column("site", "where", link=to_site),
    Column("state", "state", "state"),
    Column("num_files_done", "files done", "number", note="there, of a copy; gone, of a deletion"),
    Column("num_files", "of", "number"),
    Column("done_bytes", "done", "size"),
    Column("size_bytes", "of", "size"),
    Column("waits", "waits because", "long", link=to_subscription),
    Column("reason", "because", "long"),
)
ITEMS = Field(
    "items", "What", FieldKind.NAMES, hint="/Primary/Processed/TIER, or …#block; one a line", is_required=True
)
SITES = Field("sites", "At which sites", FieldKind.NAMES, hint="T2_DE_A, or T2_*; one a line", is_required=True)
NEW = (
    Act(
        title="Ask for copies",
        about="The next cycle of the Dealer looks at it. The same open request is made once, and counted.",
        action=Action.COPY,
        method="POST",
        path="/requests/copies",
        fields=(
            ITEMS,
            SITES,
            Field("copies", "How many copies over these sites", FieldKind.NUMBER, start="1", hint="0: one at each"),
            Field("group", "For the group", is_required=True),
        ),
        then="requests/{id}",
    ),
    Act(
        title="Ask for deletions",
        about="What may go goes; what must stay is refused, each with its reason.",
        action=Action.DELETE,
        method="POST",
        path="/requests/deletions",
        fields=(
            ITEMS,
            SITES,
            Field("group", "Only what this group owns", hint="empty: all"),
            Field("allow_tape", "Also on tape", FieldKind.FLAG),
            Field("allow_last", "Files that may lose their last copy", FieldKind.NUMBER, start="0"),
            REASON,
        ),
        confirm="delete",
        then="requests/{id}",
    ),
)


@router.get("/requests")
def list_requests(request: Request, person: Who, lister: ListerDep) -> Response:
    """Newest first."""
    mine = address("requests", {"user": person.name})
    return LIST.answer(request, person, lister, mine=mine, acts=offered(person, *NEW))


@router.get("/requests/{request_id}")
def show_request(request: Request, person: Who, request_id: Id) -> Response:
    """One: by item and site how far it is, and why it waits."""
    details = request_details(reading(), request_id)
    parts = with_waits(reading(), details, queue_rules(settings())).to_dicts()
    items = [{"item": item, "dataset": item.partition("#")[0]} for item in details.request["items"]]
    is_open = details.request["state"] in OPEN_REQUESTS
    cancel = Act(
        title="Cancel",
        about="What is there stays; what is not done yet is withdrawn.",
        action=Action.CANCEL_REQUEST,
        method="POST",
        path=f"/requests/{request_id}/cancel",
        fields=(REASON,),
        confirm=f"request {request_id}",
        then=f"requests/{request_id}",
    )
    return page(
        request,
        person,
        "requests",
        "request.html",
        one=details.request,
        items=Table((Column("item", "what", link=lambda row: address("data/named", {"name": row["dataset"]})),), items),
        parts=Table(
            PARTS,
            parts,
            nothing="Nothing is done for it yet: the next cycle looks at it."
            if is_open
            else "Nothing was done for it.",
            most=500,
        ),
        plots=[Plot(PlotKind.BARS, "How far it is, by site", "parts", "site", ("done_bytes", "size_bytes"))],
        acts=offered(person, *((cancel,) if is_open else ())),
    )
