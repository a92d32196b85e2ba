"""What-if: what another policy would decide; and what was asked for and is done by a run, trials among it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action, Target, may
from dynamo_ops.errand.states import OPEN, ErrandKind, ErrandState
from dynamo_ops.plan.states import PlanKind
from dynamo_ops.query.decision.plan import plan_texts, story_of
from dynamo_ops.query.record.errand import ERRANDS, ErrandFilter, errand_card
from dynamo_web.api.record.errands import sees_all
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import Id, ListerDep
from dynamo_web.pages.decisions import tables_of
from dynamo_web.pages.part.act import Act, Field, FieldKind, offered
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.listed import Chosen, Listed
from dynamo_web.pages.part.table import Choice, Column, Table, globs
from dynamo_web.pages.plans import DEALER_SITES, DETOX_SITES, LINES, PLUGINS
from dynamo_web.run.start import page_of

router = APIRouter(dependencies=[needs(Action.READ)])


def _asked(chosen: Chosen) -> ErrandFilter:
    return ErrandFilter(globs(chosen["kind"]), globs(chosen["state"]), chosen["person"] or None)


LIST = Listed(
    tab="plans",
    path="errands",
    title="Asked for, and done by a run",
    noun="errands",
    listing=ERRANDS,
    columns=(
        Column("id", "errand", link=lambda row: f"errands/{row['id']}"),
        Column("kind", "kind"),
        Column("state", "state", "state"),
        Column("what", "what"),
        Column("person", "by"),
        Column("created_at", "asked for", "moment"),
        Column("ended_at", "ended", "moment"),
    ),
    asked=_asked,
    choices=(Choice("kind", "Kind", tuple(ErrandKind)), Choice("state", "State", tuple(ErrandState))),
)


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


@router.get("/errands")
def list_errands(request: Request, person: Who, lister: ListerDep) -> Response:
    """One's own, newest first; those of all for operators and admins."""
    return LIST.answer(request, person, lister, {"person": "" if sees_all(person) else person.name})


@router.get("/errands/{errand_id}")
def show_errand(request: Request, person: Who, errand_id: Id) -> Response:
    """One: its state, its run, its answer or problem. The page looks again by itself until it has ended."""
    card = errand_card(reading(), errand_id)
    may(person, Action.READ_ERRAND, Target(owner=card["person"]))
    answer = card["answer"] or {}
    tables: dict[str, Any] = {}
    if card["kind"] == ErrandKind.TRIAL and answer:
        tables = _tried(answer)
    return page(
        request,
        person,
        "plans",
        "errand.html",
        card=card,
        answer=answer,
        is_open=card["state"] in OPEN,
        run=page_of(card["run_key"]),
        **tables,
    )


def _tried(answer: dict[str, Any]) -> dict[str, Any]:
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
