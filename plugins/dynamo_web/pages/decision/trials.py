"""Trials: what another policy or configuration would decide than the one of a plan."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action, Target
from dynamo_ops.plan.states import PlanKind
from dynamo_ops.query.decision.plan import plan_texts, story_of
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import Id
from dynamo_web.pages.decision.decisions import tables_of
from dynamo_web.pages.decision.plans import DEALER_SITES, DETOX_SITES, LINES, PLUGINS
from dynamo_web.pages.part.act import Act, Field, FieldKind, offered
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.table import Table

router = APIRouter(dependencies=[needs(Action.READ)])


@router.get("/plans/{plan_id}/what-if")
def write_policy(request: Request, person: Who, plan_id: Id) -> Response:
    """A copy of the policy of a plan, to be edited, checked while it is typed, and tried."""
    story = story_of(reading(), plan_id)
    partition, is_detox = story.stored.partition, story.stored.kind == PlanKind.DETOX
    kind, against = ("policy", {"against": plan_id}) if is_detox else ("dealer", {})
    text = plan_texts(reading(), plan_id)["policy_text"]
    act = Act(
        title="Try it",
        about=f"A run decides for {partition} by this text, on the inventory of now. It is no plan.",
        action=Action.TRY_POLICY,
        method="POST",
        path="/trials",
        fields=(Field(kind, "The text", FieldKind.AREA, start=text, is_required=True),),
        sent={"partition": partition, **against},
        then="errands/{errand}",
        of=Target(partitions=(partition,)),
    )
    shown = {"plan_id": plan_id, "partition": partition, "is_detox": is_detox, "acts": offered(person, act)}
    return page(request, person, "plans", "what_if.html", **shown)


def tables_of_trial(answer: dict[str, Any]) -> dict[str, Any]:
    """What a trial decided; and how that differs from the plan that it was compared with."""
    nowhere = {"deletions": None, "decisions": None, "copies": None}

    def table(columns: Any, field: str) -> Table:
        return Table(columns, [{**row, **nowhere} for row in answer.get(field, ())])

    is_detox = "lines" in answer
    tables = {
        "would_sites": table(DETOX_SITES if is_detox else DEALER_SITES, "sites"),
        "would_lines": table(LINES, "lines") if is_detox else table(PLUGINS, "plugins"),
    }
    return {**tables, **(tables_of(answer["difference"]) if "difference" in answer else {})}
