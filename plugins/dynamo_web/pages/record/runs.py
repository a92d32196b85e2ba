"""A run of Airflow: the plans that it made, what gates said in it, the errands that it did."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.query.decision.plan import PLANS, PlanFilter
from dynamo_ops.query.paging.listing import Window, read_page
from dynamo_ops.query.record.gate import GATE_RESULTS, GateFilter
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.pages.decision import plans
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.table import Table
from dynamo_web.pages.record import gates
from dynamo_web.run.start import page_of

router = APIRouter(dependencies=[needs(Action.READ)])
MOST = 200

PLACES = {
    "transfers": ("transfers", "Transfers"),
    "deletions": ("deletions", "Deletions"),
    "site_consistency": ("sites", "Sites"),
    "metadata_sync": ("data", "Data"),
    "popularity_aggregation": ("inventory", "Inventory"),
    "errands": ("errands", "What was asked for, and done by a run"),
    "housekeeping": ("today", "Today"),
    "daily_digest": ("today", "Today"),
}
"""Where to look at what a DAG does, besides plans and gates."""


@router.get("/runs")
def show_run(request: Request, person: Who, dag: str, run: str) -> Response:
    """What one did for data: in the tab of a run it is shown."""
    key = f"{dag}/{run}"
    plan_fields = [column.name for column in plans.LIST.columns]
    gate_fields = [column.name for column in gates.GATES.columns]
    made = read_page(reading(), PLANS, PlanFilter(runs=[key]), Window(MOST, fields=plan_fields))
    said = read_page(reading(), GATE_RESULTS, GateFilter(runs=[key]), Window(MOST, fields=gate_fields))
    return page(
        request,
        person,
        "",
        "run.html",
        dag=dag,
        run=run,
        airflow_page=page_of(key),
        place=next((place for name, place in PLACES.items() if dag.startswith(name)), None),
        plans=Table(plans.LIST.columns, made.records(), nothing="It made no plan."),
        gates=Table(gates.GATES.columns, said.records(), nothing="No gate judged anything in it.", most=MOST),
    )
