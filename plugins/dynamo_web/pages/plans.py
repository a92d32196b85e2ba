"""Plans: what Detox and the Dealer decided, by which line of which policy, who approved it, and what became of it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.plan.states import PlanKind, PlanState
from dynamo_ops.query.decision.plan import PLANS, PlanFilter, plan_card, plan_texts
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import Id, ListerDep
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import to_plan, to_site
from dynamo_web.pages.part.listed import Chosen, ListPage
from dynamo_web.pages.part.table import Choice, Column, Table, globs

router = APIRouter(dependencies=[needs(Action.READ)])


def _asked(chosen: Chosen) -> PlanFilter:
    kinds, partitions, states = (globs(chosen[name]) for name in ("kind", "partition", "state"))
    return PlanFilter(kinds, partitions, states, (), chosen["since"] or None)


COLUMNS = (
    Column("id", "plan", link=to_plan),
    Column("kind", "of"),
    Column("partition", "partition"),
    Column("state", "state", "state"),
    Column("planned_for_at", "decides for", "moment"),
    Column("approved_by", "approved by"),
    Column("refused_by", "refused by"),
    Column("refused_because", "because"),
    Column("committed_at", "committed", "moment"),
)
LIST = ListPage(
    "plans",
    "plans",
    "Plans",
    "plans",
    PLANS,
    COLUMNS,
    _asked,
    (
        Choice("kind", "Of", tuple(PlanKind)),
        Choice("partition", "Partition", hint="physics, or a glob"),
        Choice("state", "State", tuple(PlanState)),
        Choice("since", "Made since", hint="2026-01-31, or 7d"),
    ),
)
DETOX_SITES = (
    Column("site", "site", link=to_site),
    Column("quota_bytes", "quota", "quota"),
    Column("bytes_before", "before", "size"),
    Column("occupancy_before", "full before", "share"),
    Column("protected_fraction", "protected", "share", note="of the quota: what the policy lets nobody delete"),
    Column("deleted_bytes", "deleted", "size"),
    Column("set_aside_bytes", "set aside", "size", note="last copies, locked, enforced: kept though its turn had come"),
    Column("bytes_after", "after", "size"),
    Column("occupancy_after", "full after", "share"),
    Column("is_triggered", "above its mark", "yes"),
)
LINES = (
    Column("decision", "decided", "state"),
    Column("line", "line"),
    Column("text", "policy"),
    Column("num_dataset_replicas", "dataset replicas", "number"),
    Column("num_block_replicas", "block replicas", "number"),
    Column("size_bytes", "size", "size"),
)


@router.get("/plans")
def list_plans(request: Request, person: Who, lister: ListerDep) -> Response:
    """Of both engines, newest first."""
    return LIST.answer(request, person, lister)


@router.get("/plans/{plan_id}")
def show_plan(request: Request, person: Who, lister: ListerDep, plan_id: Id) -> Response:
    """One: who stored, approved or refused it, by policy line and site."""
    with lister.heavy():
        card = plan_card(reading(), plan_id)
        texts = plan_texts(reading(), plan_id)
    tables = {}
    if card["kind"] == PlanKind.DETOX:
        tables = {"sites": Table(DETOX_SITES, card["sites"]), "lines": Table(LINES, card["lines"])}
    return page(request, person, "plans", "plan.html", card=card, texts=texts, **tables)
