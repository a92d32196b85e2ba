"""Today: what needs a look, what stands still, what waits for a person, how old what we know is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from dynamo_ops.access.actions import Action
from dynamo_ops.alerts.digest import read_digest
from dynamo_ops.base.settings import settings
from dynamo_ops.pause import pauses
from dynamo_ops.plan.states import PlanState
from dynamo_ops.query.decision.plan import PLANS, PlanFilter
from dynamo_ops.query.paging.listing import Window, read_page
from dynamo_ops.query.record.freshness import freshness
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import to_plan
from dynamo_web.pages.part.table import Column, Table

router = APIRouter(dependencies=[needs(Action.READ)])

PLAN = (
    Column("id", "plan", link=to_plan),
    Column("kind", "of"),
    Column("partition", "partition"),
    Column("state", "state", "state"),
    Column("created_at", "made", "moment"),
    Column("committed_at", "committed", "moment"),
)
STILL = (
    Column("what", "what"),
    Column("reason", "reason"),
    Column("created_by", "by"),
    Column("created_at", "since", "moment"),
    Column("until", "until", "moment"),
)
SOURCES = (
    Column("source", "source"),
    Column("merged_until", "known until", "moment"),
)


@router.get("/")
def start(request: Request) -> Response:
    """Where one begins."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/today", 302)


@router.get("/today")
def show(request: Request, person: Who) -> Response:
    """The last 24 hours in short."""
    database = reading()
    digest = read_digest(database, settings(), datetime.now(UTC))
    ages = freshness(database, settings())
    standing = [row for row in pauses.pauses(database, limit=100).to_dicts() if row["is_in_force"]]
    fields = [column.name for column in PLAN]
    waiting = read_page(database, PLANS, PlanFilter(states=[PlanState.PLANNED]), Window(10, fields=fields))
    newest = read_page(database, PLANS, PlanFilter(), Window(10, fields=fields))
    return page(
        request,
        person,
        "today",
        "today.html",
        digest=digest,
        waiting=Table(PLAN, waiting.records(), nothing="No plan waits."),
        plans=Table(PLAN, newest.records(), nothing="There is no plan yet."),
        standing=Table(STILL, [{**row, "what": _what(row)} for row in standing], nothing="Nothing stands still."),
        sources=Table(SOURCES, ages["metadata"], nothing="No source is named in dynamo.yaml."),
        missing=ages["missing_days"],
    )


def _what(pause: dict[str, Any]) -> str:
    if pause["kind"] is None:
        return "everything"
    return " of ".join(part for part in (pause["kind"], pause["partition"]) if part)
