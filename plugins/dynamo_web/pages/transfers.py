"""Transfers and deletions: what waits, what moves, what ended and how, and why something stands still."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.base.settings import settings
from dynamo_ops.fts.servers import job_page
from dynamo_ops.inventory.states import HoldReason, SubscriptionAction
from dynamo_ops.query.explanation import why
from dynamo_ops.query.movement import attempt, series
from dynamo_ops.query.movement.attempt import AttemptFilter
from dynamo_ops.query.movement.figures import standing
from dynamo_ops.query.movement.series import Span
from dynamo_ops.query.movement.subscription import (
    SUBSCRIPTIONS,
    SubscriptionFilter,
    queue_rules,
    subscription_document,
)
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import Id, ListerDep
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import address, to_site, to_subscription
from dynamo_web.pages.part.listed import Chosen, ListPage
from dynamo_web.pages.part.table import Choice, Column, Table, globs

router = APIRouter(dependencies=[needs(Action.READ)])


def _attempts(chosen: Chosen) -> AttemptFilter:
    return AttemptFilter(
        globs(chosen["site"]),
        globs(chosen.get("source")),
        globs(chosen["state"]),
        (),
        chosen["because"] or None,
        chosen.get("since") or None,
    )


def _ended(chosen: Chosen) -> AttemptFilter:
    return _attempts({**chosen, "since": chosen["since"] or "7d"})


def _queued(action: SubscriptionAction, chosen: Chosen) -> SubscriptionFilter:
    return SubscriptionFilter(
        (),
        globs(chosen["dataset"]),
        (),
        globs(chosen["site"]),
        [action],
        globs(chosen["state"]),
        globs(chosen["hold_reason"]),
        globs(chosen["origin"]),
    )


SITE = Choice("site", "To site", hint="T2_*")
AT = Choice("site", "At site", hint="T2_*")
SOURCE = Choice("source", "From site", hint="T1_*")
WHY = Choice("because", "Reason has", hint="a part of it")
SINCE = Choice("since", "Since", hint="7d")
STATE = Choice("state", "State")
LFN = Column("lfn", "file", link=to_subscription)
QUEUE = (
    Choice("dataset", "Dataset", hint="a name or glob"),
    AT,
    Choice("state", "State"),
    Choice("hold_reason", "Held because", tuple(HoldReason)),
    Choice("origin", "Asked for by", hint="dealer, request 7"),
)
QUEUED = (
    Column("id", "subscription", link=to_subscription),
    Column("state", "state", "state"),
    Column("hold_reason", "held because"),
    Column("site", "site", link=to_site),
    Column("lfn", "file"),
    Column("size_bytes", "size", "size"),
    Column("origin", "asked for by"),
    Column("num_attempts", "attempts", "number"),
    Column("last_error", "last error"),
    Column("created_at", "since", "moment"),
)
MOVING = ListPage(
    "transfers",
    "transfers/under-way",
    "Copies under way",
    "copies",
    attempt.TRANSFERS_UNDER_WAY,
    (
        LFN,
        Column("source", "from"),
        Column("site", "to", link=to_site),
        Column("state", "state", "state"),
        Column("size_bytes", "size", "size"),
        Column("activity", "activity"),
        Column("backend", "by"),
        Column("started_at", "since", "moment"),
    ),
    _attempts,
    (SITE, SOURCE, STATE, WHY),
    hidden=("subscription_id",),
)
MOVED = ListPage(
    "transfers",
    "transfers/ended",
    "Copies that ended",
    "copies",
    attempt.TRANSFERS_ENDED,
    (
        LFN,
        Column("source", "from"),
        Column("site", "to", link=to_site),
        Column("state", "state", "state"),
        Column("reason", "because"),
        Column("size_bytes", "size", "size"),
        Column("finished_at", "ended", "moment"),
    ),
    _ended,
    (SITE, SOURCE, STATE, WHY, SINCE),
    hidden=("subscription_id",),
    about="Of a week, if nothing else is asked for.",
)
GONE = ListPage(
    "deletions",
    "deletions/ended",
    "Deletions that ended",
    "deletions",
    attempt.DELETIONS_ENDED,
    (
        LFN,
        Column("site", "at", link=to_site),
        Column("state", "state", "state"),
        Column("reason", "because"),
        Column("size_bytes", "size", "size"),
        Column("finished_at", "ended", "moment"),
    ),
    _ended,
    (AT, STATE, WHY, SINCE),
    hidden=("subscription_id",),
    about="Of a week, if nothing else is asked for.",
)
GOING = ListPage(
    "deletions",
    "deletions/under-way",
    "Deletions under way",
    "deletions",
    attempt.DELETIONS_UNDER_WAY,
    (
        LFN,
        Column("site", "at", link=to_site),
        Column("state", "state", "state"),
        Column("size_bytes", "size", "size"),
        Column("claimed_at", "since", "moment"),
    ),
    _attempts,
    (AT, STATE, WHY),
    hidden=("subscription_id",),
)
TO_COME = ListPage(
    "transfers",
    "transfers/queue",
    "Copies that are subscribed",
    "subscriptions",
    SUBSCRIPTIONS,
    QUEUED,
    partial(_queued, SubscriptionAction.COPY),
    QUEUE,
)
TO_GO = ListPage(
    "deletions",
    "deletions/queue",
    "Deletions that are subscribed",
    "subscriptions",
    SUBSCRIPTIONS,
    QUEUED,
    partial(_queued, SubscriptionAction.DELETE),
    QUEUE,
)
LINKS = (
    Column("source", "from"),
    Column("site", "to", link=to_site),
    Column("num_done", "done", "number"),
    Column("num_failed", "failed", "number"),
    Column("failed_fraction", "failed", "share"),
    Column("size_bytes", "copied", "size"),
)
ERRORS = (
    Column("error", "error", note="as FTS classes it"),
    Column("source", "from"),
    Column("site", "to", link=to_site),
    Column("num_files", "files", "number"),
    Column("size_bytes", "size", "size"),
    Column("last_hour", "last", "moment"),
)


@router.get("/transfers")
def show_transfers(request: Request, person: Who) -> Response:
    """How copies stand, by site; what came from where in a day; what failed."""
    shown = _standing(SubscriptionAction.COPY, "transfers")
    day = Span("1d", None, (), ())
    return page(
        request,
        person,
        "transfers",
        "transfers.html",
        **shown,
        links=Table(LINKS, series.links(reading(), day).to_dicts(), nothing="Nothing was copied."),
        errors=Table(ERRORS, series.errors(reading(), day).to_dicts(), nothing="Nothing failed."),
    )


@router.get("/deletions")
def show_deletions(request: Request, person: Who) -> Response:
    """How deletions stand, by site."""
    return page(request, person, "deletions", "deletions.html", **_standing(SubscriptionAction.DELETE, "deletions"))


@router.get("/transfers/why/{subscription_id}")
def show_why(request: Request, person: Who, subscription_id: Id) -> Response:
    """Why one stands where it stands, with its attempts and where the file could come from."""
    explained = why(reading(), subscription_id, queue_rules(settings()))
    one = subscription_document(explained, partial(job_page, settings().fts))
    tab = "transfers" if one["action"] == SubscriptionAction.COPY else "deletions"
    return page(request, person, tab, "subscription.html", one=one)


@router.get("/transfers/queue")
def list_to_come(request: Request, person: Who, lister: ListerDep) -> Response:
    """Files that shall come."""
    return TO_COME.answer(request, person, lister)


@router.get("/transfers/under-way")
def list_moving(request: Request, person: Who, lister: ListerDep) -> Response:
    """Copies under way."""
    return MOVING.answer(request, person, lister)


@router.get("/transfers/ended")
def list_moved(request: Request, person: Who, lister: ListerDep) -> Response:
    """Copies that ended."""
    return MOVED.answer(request, person, lister)


@router.get("/deletions/queue")
def list_to_go(request: Request, person: Who, lister: ListerDep) -> Response:
    """Files that shall go."""
    return TO_GO.answer(request, person, lister)


@router.get("/deletions/under-way")
def list_going(request: Request, person: Who, lister: ListerDep) -> Response:
    """Deletions under way."""
    return GOING.answer(request, person, lister)


@router.get("/deletions/ended")
def list_gone(request: Request, person: Who, lister: ListerDep) -> Response:
    """Deletions that ended."""
    return GONE.answer(request, person, lister)


def _standing(action: SubscriptionAction, tab: str) -> dict[str, Any]:
    told = standing(reading(), action, (), "24h", datetime.now(UTC))

    def queue(row: Any) -> str:
        asked = {"site": row["site"], "state": row["state"], "hold_reason": row["hold_reason"]}
        return address(f"{tab}/queue", asked)

    subscribed = (
        Column("site", "site", link=to_site),
        Column("state", "state", "state"),
        Column("hold_reason", "held because"),
        Column("num_files", "files", "number", link=queue),
        Column("size_bytes", "size", "size"),
        Column("oldest_at", "oldest", "moment"),
        Column("subscription_id", "why, of the oldest", link=to_subscription),
    )
    under_way = (
        Column("site", "site", link=to_site),
        Column("backend", "by"),
        Column("state", "state", "state"),
        Column("num_batches", "batches", "number"),
        Column("num_files", "files", "number", link=lambda row: address(f"{tab}/under-way", {"site": row["site"]})),
        Column("size_bytes", "size", "size"),
        Column("oldest_at", "oldest", "moment"),
    )
    ended = (
        Column("site", "site", link=to_site),
        *((Column("source", "from"),) if action == SubscriptionAction.COPY else ()),
        Column("state", "state", "state"),
        Column(
            "num_files",
            "files",
            "number",
            link=lambda row: address(f"{tab}/ended", {"site": row["site"], "state": row["state"], "since": "24h"}),
        ),
        Column("size_bytes", "size", "size"),
        Column("example", "one reason"),
    )
    return {
        "subscribed": Table(subscribed, told["subscribed"], nothing="Nothing waits."),
        "under_way": Table(under_way, told["under_way"], nothing="Nothing is under way."),
        "ended": Table(ended, told["ended"], nothing="Nothing ended in 24 hours."),
    }
