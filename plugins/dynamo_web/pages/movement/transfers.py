"""Transfers and deletions: how they stand by site, by link and hour, what failed; and why one stands still."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.settings import settings
from dynamo_ops.fts.servers import job_page
from dynamo_ops.inventory.states import ServerIllness, SubscriptionAction
from dynamo_ops.query.explanation import why
from dynamo_ops.query.movement import series
from dynamo_ops.query.movement.figures import standing
from dynamo_ops.query.movement.series import Span
from dynamo_ops.query.movement.subscription import queue_rules, subscription_document
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import Id
from dynamo_web.pages.movement.queued import MOVES
from dynamo_web.pages.part.act import Act, Field, FieldKind, offered
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import address, to_site, to_source, to_subscription
from dynamo_web.pages.part.plot import Plot, PlotKind, Unit
from dynamo_web.pages.part.table import Choice, Column, Filter, Row, Table

router = APIRouter(dependencies=[needs(Action.READ)])
SPANS = {"1h": 1, "6h": 6, "24h": 24, "7d": 168, "30d": 720, "365d": 8_760}
"""Hours."""
LONG_H = 168
DAY = "24h"
"""Of what ended: the attempts themselves are read, not their sums."""

LINKS = (
    Column("source", "from", link=to_source),
    Column("site", "to", link=to_site),
    Column("num_done", "done", "number", link=lambda row: row["done"]),
    Column("num_failed", "failed", "number", link=lambda row: row["failed"]),
    Column("failed_fraction", "failed", "share"),
    Column("size_bytes", "copied", "size"),
    Column("rate", "rate", "rate", note="copied, by the whole time that is shown"),
    Column("bytes_per_s", "of a file", "rate", note="while it moved"),
)
ERRORS = (
    Column("error", "error", note="as FTS classes it"),
    Column("source", "from", link=to_source),
    Column("site", "to", link=to_site),
    Column("num_files", "files", "number", link=lambda row: row["failed"]),
    Column("size_bytes", "size", "size"),
    Column("last_hour", "last", "moment"),
)
RATES = (
    Column("at", "from", "moment"),
    Column("site", "site", link=to_site),
    Column("num_files", "files", "number"),
    Column("size_bytes", "size", "size"),
)
ATTEMPTS = (
    Column("finished_at", "ended", "moment"),
    Column("state", "state", "state"),
    Column("source", "from"),
    Column("backend", "by"),
    Column("blame", "fault of"),
    Column("verified_by", "verified by"),
    Column("reason", "because", "long"),
    Column("job_id", "job", link=lambda row: row["url"]),
)
SOURCES = (
    Column("site", "site", link=to_site),
    Column("status", "status", "state"),
    Column("is_usable", "usable", "yes"),
    Column("num_failed", "failed", "number", note="attempts from there"),
    Column("because", "because", "long"),
    Column("last_error", "last error", "long"),
)


SERVERS = (
    Column("server", "server"),
    Column("is", "state"),
    Column("ill_since", "since", "moment"),
    Column("num_jobs", "jobs", "number"),
    Column("num_files", "files", "number", note="of these jobs, not ended"),
    Column("oldest_at", "oldest sent", "moment"),
    Column("reason", "because", "long"),
)


@router.get("/transfers")
def show_transfers(request: Request, person: Who, since: str = "24h") -> Response:
    """How copies stand, by site; what came from where; what failed."""
    _check(since)
    hours = SPANS[since]
    links = [
        {
            **row,
            "rate": row["size_bytes"] / hours / 3_600,
            "done": address("transfers/ended", {**_link(row), "state": "done", "since": since}),
            "failed": address("transfers/ended", {**_link(row), "state": "failed", "since": since}),
        }
        for row in series.links(reading(), Span(since)).sort("size_bytes", descending=True).to_dicts()
    ]
    errors = [
        {**row, "failed": address("transfers/ended", {**_link(row), "state": "failed", "since": since})}
        for row in series.errors(reading(), Span(since)).to_dicts()
    ]
    rest = address("/transfers/links", {"since": since})
    rate, failed = ("source", "size_bytes"), ("source", "failed_fraction")
    return page(
        request,
        person,
        "transfers",
        "transfers.html",
        **_standing(SubscriptionAction.COPY, "transfers"),
        since=since,
        asked=Filter("transfers", (Choice("since", "Since", tuple(SPANS)),), {"since": since}),
        links=Table(LINKS, links, nothing="Nothing was copied."),
        errors=Table(ERRORS, errors, nothing="Nothing failed."),
        rates=_rates(SubscriptionAction.COPY, since),
        plots=[
            _plot("Copied to each site", "transfers", since),
            Plot(PlotKind.MATRIX, "Links: rate", "links", "site", rate, Unit.BYTES_AN_HOUR, "", rest, hours),
            Plot(PlotKind.MATRIX, "Links: failed", "links", "site", failed, Unit.SHARE, "", rest),
        ],
    )


@router.get("/deletions")
def show_deletions(request: Request, person: Who, since: str = "24h") -> Response:
    """How deletions stand, by site."""
    _check(since)
    return page(
        request,
        person,
        "deletions",
        "deletions.html",
        **_standing(SubscriptionAction.DELETE, "deletions"),
        since=since,
        asked=Filter("deletions", (Choice("since", "Since", tuple(SPANS)),), {"since": since}),
        rates=_rates(SubscriptionAction.DELETE, since),
        plots=[_plot("Deleted at each site", "deletions", since)],
    )


@router.get("/transfers/why/{subscription_id}")
def show_why(request: Request, person: Who, subscription_id: Id) -> Response:
    """Why one stands where it stands, with its attempts and where the file could come from."""
    explained = why(reading(), subscription_id, queue_rules(settings()))
    one = subscription_document(explained, partial(job_page, settings().fts))
    is_copy = one["action"] == SubscriptionAction.COPY
    acts = [
        Act(
            title=title,
            about=about,
            action=Action.OPERATE_SUBSCRIPTIONS,
            method="POST",
            path=f"/subscriptions/{move}",
            fields=(Field("reason", "Why", FieldKind.TEXT, hint="others read it"),),
            sent={"ids": [subscription_id]},
            takes={"expected_files": "num_files"},
            confirm="cancel" if move == "cancel" else "",
        )
        for move, (title, about) in MOVES.items()
    ]
    return page(
        request,
        person,
        "transfers" if is_copy else "deletions",
        "subscription.html",
        one=one,
        attempts=Table(ATTEMPTS, one["attempts"], nothing="None yet."),
        sources=Table(SOURCES, one["sources"], nothing="Nowhere." if is_copy else "It is a deletion."),
        acts=offered(person, *acts),
    )


def _rates(action: SubscriptionAction, since: str) -> Table:
    """What was done by hour or day and site."""
    read = series.transfer_series if action == SubscriptionAction.COPY else series.deletion_series
    frame = read(reading(), Span(since), ["site"], step=_step(since), outcomes=["done"])
    return Table(RATES, frame.sort("at", descending=True, maintain_order=True).to_dicts(), nothing="Nothing was done.")


def _plot(title: str, what: str, since: str) -> Plot:
    """The same, as it is read from REST: of a hundred sites it is too long for a page."""
    rest = address(f"/{what}/series", {"by": "site", "step": _step(since), "outcome": "done", "since": since})
    title = f"{title} by {_step(since)}"
    return Plot(PlotKind.STACK, title, "rates", "at", ("size_bytes",), Unit.BYTES, "site", rest)


def _step(since: str) -> str:
    """A point is a day of a long time, else an hour."""
    return "hour" if SPANS[since] <= LONG_H else "day"


def _check(since: str) -> None:
    if since not in SPANS:
        raise InventoryError(f"since: {since!r} is none of {', '.join(SPANS)}", since=since)


def _link(row: Row) -> dict[str, Any]:
    return {"site": row["site"], "source": row["source"]}


def _standing(action: SubscriptionAction, tab: str) -> dict[str, Any]:
    amounts = standing(reading(), action, (), DAY, datetime.now(UTC))

    def queue(row: Row) -> str:
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
        *((Column("source", "from", link=to_source),) if action == SubscriptionAction.COPY else ()),
        Column("site", "to" if action == SubscriptionAction.COPY else "at", link=to_site),
        Column("state", "state", "state"),
        Column(
            "num_files",
            "files",
            "number",
            link=lambda row: address(
                f"{tab}/ended",
                {"site": row["site"], "source": row.get("source"), "state": row["state"], "since": DAY},
            ),
        ),
        Column("size_bytes", "size", "size"),
        Column("example", "one reason", "long"),
    )
    return {
        "subscribed": Table(subscribed, amounts["subscribed"], nothing="Nothing waits."),
        "under_way": Table(under_way, amounts["under_way"], nothing="Nothing is under way."),
        "ended": Table(ended, amounts["ended"], nothing="Nothing ended in 24 hours."),
        "servers": Table(SERVERS, [_as_people_say(server) for server in amounts.get("servers", ())]),
    }


def _as_people_say(server: Row) -> Row:
    return {**server, "is": ServerIllness(server["illness"]).words if server["illness"] else "well"}
