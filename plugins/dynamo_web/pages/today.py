"""Today: what needs a look, what stands still, what waits for a person, how old what we know is, what ran."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from dynamo_airflow.pages import OF_SECTIONS
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from dynamo_ops.access.actions import Action
from dynamo_ops.alerts.digest import read_digest
from dynamo_ops.base.settings import settings
from dynamo_ops.pause import pauses
from dynamo_ops.pause.pauses import PauseKind
from dynamo_ops.plan.states import PlanState
from dynamo_ops.query.decision.plan import PLANS, PlanFilter
from dynamo_ops.query.paging.listing import Window, read_page
from dynamo_ops.query.record.freshness import freshness
from dynamo_ops.query.record.request import OPEN, REQUESTS, RequestFilter
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.pages.part.act import REASON, Act, Field, offered
from dynamo_web.pages.part.cells import when
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import Row, to_plan, to_request
from dynamo_web.pages.part.plot import Plot, PlotKind, Unit
from dynamo_web.pages.part.table import Column, Table
from dynamo_web.run.recent import recent_runs

router = APIRouter(dependencies=[needs(Action.READ)])
SHOWN_H = 48
"""Of runs."""
PLAN = (
    Column("id", "plan", link=to_plan),
    Column("kind", "of"),
    Column("partition", "partition"),
    Column("state", "state", "state"),
    Column("created_at", "made", "moment"),
    Column("size_bytes", "deletes or copies", "size"),
    Column("approved_by", "approved by"),
    Column("committed_at", "committed", "moment"),
)
STILL = (
    Column("what", "what"),
    Column("reason", "reason", "long"),
    Column("created_by", "by"),
    Column("created_at", "since", "moment"),
    Column("until", "until", "moment"),
)
MINE = (
    Column("id", "request", link=to_request),
    Column("kind", "asks for"),
    Column("state", "state", "state"),
    Column("items", "what", "long"),
    Column("sites", "where"),
    Column("created_at", "made", "moment"),
)
SOURCES = (Column("source", "source"), Column("what", "of"), Column("until", "known until"))
MISSING = (Column("day", "day"), Column("source", "source"))
RUNS = (
    Column("dag", "DAG"),
    Column("run", "run", link=lambda row: row["page"]),
    Column("state", "state", "state"),
    Column("started_at", "began", "moment"),
    Column("ended_at", "ended", "moment"),
)


@router.get("/")
def start(request: Request) -> Response:
    """Where one begins."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/today", 302)


@router.get("/today")
def show(request: Request, person: Who) -> Response:
    """The last 24 hours in short."""
    database, now = reading(), datetime.now(UTC)
    digest = read_digest(database, settings(), now)
    ages = freshness(database, settings())
    still = [row for row in pauses.pauses(database, limit=100).to_dicts() if row["is_in_force"]]
    fields = [column.name for column in PLAN]
    asked = [column.name for column in MINE]
    waiting = read_page(database, PLANS, PlanFilter(states=[PlanState.PLANNED]), Window(10, fields=fields))
    newest = read_page(database, PLANS, PlanFilter(), Window(10, fields=fields))
    own = read_page(database, REQUESTS, RequestFilter(states=[OPEN], users=[person.name]), Window(10, fields=asked))
    return page(
        request,
        person,
        "today",
        "today.html",
        unusual=[(said, OF_SECTIONS.get(part.key)) for part in digest.sections for said in part.unusual],
        waiting=Table(PLAN, waiting.records(), nothing="No plan waits."),
        plans=Table(PLAN, newest.records(), nothing="There is no plan yet."),
        mine=Table(MINE, own.records(), nothing="You have asked for nothing that is still open."),
        still=Table(STILL, [{**row, "what": _what(row)} for row in still], nothing="Nothing stands still."),
        sources=Table(SOURCES, _sources(ages), nothing="No source is named in dynamo.yaml."),
        missing=Table(MISSING, ages["missing_days"], nothing="No day is missing."),
        runs=Table(RUNS, recent_runs(now - timedelta(hours=SHOWN_H)), nothing="Nothing ran.", most=50),
        hours=SHOWN_H,
        plots=[
            Plot(
                PlotKind.SPANS,
                f"Runs of {SHOWN_H} hours",
                "runs",
                "dag",
                ("started_at", "ended_at"),
                Unit.TIME,
                "state",
            )
        ],
        acts=offered(person, _stop(), *map(_resume, still)),
    )


def _sources(ages: dict[str, Any]) -> list[Row]:
    """What metadata and accesses are known until."""
    metadata = [
        {"source": row["source"], "what": "metadata", "until": when(row["merged_until"])} for row in ages["metadata"]
    ]
    accesses = [{"source": row["source"], "what": "accesses", "until": row["newest_day"]} for row in ages["accesses"]]
    return [*metadata, *accesses]


def _what(pause: Row) -> str:
    if pause["kind"] is None:
        return "everything"
    return " of ".join(part for part in (pause["kind"], pause["partition"]) if part)


def _stop() -> Act:
    return Act(
        title="Stop everything, or a part",
        about="Nothing is done any more from now on. What FTS has goes on there; its results are taken in.",
        action=Action.PAUSE,
        method="POST",
        path="/pauses",
        fields=(
            Field("kind", "What", options=tuple(PauseKind), hint="empty: everything"),
            Field("partition", "Of partition", hint="of detox and dealer; empty: all"),
            Field("until", "Until", hint="2026-12-31, or 2 hours; empty: until it is resumed"),
            REASON,
        ),
        confirm="stop",
        then="today",
    )


def _resume(pause: Row) -> Act:
    return Act(
        title=f"Resume {_what(pause)}",
        about=f"It goes on: it was stopped by {pause['created_by']}, who said: {pause['reason']}",
        action=Action.PAUSE,
        method="DELETE",
        path=f"/pauses/{pause['id']}",
        fields=(REASON,),
        in_query=True,
        then="today",
    )
