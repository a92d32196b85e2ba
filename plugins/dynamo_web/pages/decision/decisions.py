"""What the files of a plan hold, row by row: decisions, the order of deletion, proposals, what a commit left out; and
how two plans differ."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.plan.states import DECISIONS as WORDS
from dynamo_ops.query.decision import frame
from dynamo_ops.query.decision.left_out import LEFT_OUT_BY_COMMIT, LeftOutFilter
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import PATIENCE_S, Id, ListerDep
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import to_named, to_site
from dynamo_web.pages.part.listed import Chosen, Framed, Listed
from dynamo_web.pages.part.plot import Plot, PlotKind
from dynamo_web.pages.part.table import Choice, Column, Table, globs

router = APIRouter(dependencies=[needs(Action.READ)])
ROWS = 100
"""Of each table of a difference."""

DATASET = Column("dataset", "dataset", link=to_named)
SITE = Column("site", "site", link=to_site)
SIZE = Column("size_bytes", "size", "size")
BY_SITE = Choice("site", "Site", hint="T2_*")
BY_DATASET = Choice("dataset", "Dataset", hint="a name or glob")


def _line(written: str) -> int | None:
    if not written:
        return None
    if not written.isdecimal():
        raise InventoryError(f"line {written!r} is no number of a policy line; 0 is the default", line=written)
    return int(written)


DECISIONS = Framed(
    tab="plans",
    path="plans/{plan_id}/decisions",
    title="What plan {plan_id} decides",
    noun="decisions",
    columns=(
        DATASET,
        SITE,
        Column("block", "block"),
        Column("decision", "decision", "state"),
        Column("line", "line", "line"),
        SIZE,
    ),
    frame=lambda chosen: frame.decisions(
        reading(),
        int(chosen["plan_id"]),
        site=chosen["site"] or None,
        dataset=chosen["dataset"] or None,
        decision=chosen["decision"] or None,
        line=_line(chosen["line"]),
    ),
    choices=(BY_SITE, BY_DATASET, Choice("decision", "Decision", WORDS), Choice("line", "Line", hint="11")),
    about="By dataset, site and block; block *: all that the site has of it.",
    template="of_plan.html",
)
ORDER = Framed(
    tab="plans",
    path="plans/{plan_id}/order",
    title="What plan {plan_id} deletes, in this order",
    noun="deletions",
    columns=(
        Column("delete_order", "turn", "number"),
        DATASET,
        SITE,
        Column("line", "line", "line"),
        Column("num_block_replicas", "block replicas", "number"),
        SIZE,
    ),
    frame=lambda chosen: frame.order(reading(), int(chosen["plan_id"])),
    template="of_plan.html",
)
PROPOSALS = Framed(
    tab="plans",
    path="plans/{plan_id}/proposals",
    title="What was proposed to plan {plan_id}",
    about="What was accepted, if what was rejected is not asked for.",
    noun="proposals",
    columns=(
        Column("turn", "turn", "number"),
        Column("plugin", "plugin"),
        DATASET,
        Column("blocks", "blocks"),
        SITE,
        Column("owner", "for group"),
        SIZE,
        Column("outcome", "rejected because"),
        Column("reason", "wanted because", "long"),
    ),
    frame=lambda chosen: frame.proposals(
        reading(),
        int(chosen["plan_id"]),
        site=chosen["site"] or None,
        dataset=chosen["dataset"] or None,
        plugin=chosen["plugin"] or None,
        rejected=chosen["which"] == "rejected",
    ),
    choices=(BY_SITE, BY_DATASET, Choice("plugin", "Plugin"), Choice("which", "Which", ("rejected",))),
    template="of_plan.html",
)
LEFT_OUT = Listed(
    tab="plans",
    path="plans/{plan_id}/left-out",
    title="What the commit of plan {plan_id} kept after all",
    noun="block replicas",
    listing=LEFT_OUT_BY_COMMIT,
    columns=(DATASET, Column("block", "block"), SITE, SIZE, Column("reason", "because", "long")),
    asked=lambda chosen: LeftOutFilter(int(chosen["plan_id"]), globs(chosen["site"]), globs(chosen["dataset"])),
    choices=(BY_SITE, BY_DATASET),
    template="of_plan.html",
)


@router.get("/plans/{plan_id}/decisions")
def list_decisions(request: Request, person: Who, lister: ListerDep, plan_id: Id) -> Response:
    """Of a plan of Detox, by dataset, site and block."""
    return DECISIONS.answer(request, person, lister, _place(plan_id), plan_id=plan_id)


@router.get("/plans/{plan_id}/order")
def list_order(request: Request, person: Who, lister: ListerDep, plan_id: Id) -> Response:
    """Deletions as they follow one another."""
    return ORDER.answer(request, person, lister, _place(plan_id), plan_id=plan_id)


@router.get("/plans/{plan_id}/proposals")
def list_proposals(request: Request, person: Who, lister: ListerDep, plan_id: Id) -> Response:
    """Of a plan of the Dealer: what was accepted, or what was rejected and why."""
    return PROPOSALS.answer(request, person, lister, _place(plan_id), plan_id=plan_id)


@router.get("/plans/{plan_id}/left-out")
def list_left_out(request: Request, person: Who, lister: ListerDep, plan_id: Id) -> Response:
    """What it deletes and its commit kept, with the reason."""
    return LEFT_OUT.answer(request, person, lister, _place(plan_id), plan_id=plan_id)


@router.get("/plans/{plan_id}/diff")
def compare(request: Request, person: Who, lister: ListerDep, plan_id: Id, against: int) -> Response:
    """What a plan of Detox decides otherwise than another one."""
    with lister.heavy(PATIENCE_S):
        difference = frame.plan_difference(reading(), against, plan_id, ROWS)
    return page(
        request,
        person,
        "plans",
        "diff.html",
        plan_id=plan_id,
        against=against,
        difference=difference,
        **tables_of(difference),
        plots=[Plot(PlotKind.BARS, "Deleted at sites", "sites", "site", ("old_deleted_bytes", "new_deleted_bytes"))],
    )


def tables_of(difference: dict[str, Any]) -> dict[str, Table]:
    """The tables of a difference, with all columns that they have."""
    return {
        name: Table([_column(field) for field in sorted(rows[0], key=_place_of)] if rows else [], rows)
        for name in ("sites", "lines", "datasets", "last_copies", "handovers")
        for rows in [difference[name]]
    }


def _column(field: str) -> Column:
    kinds = {"_bytes": "size", "_after": "share", "_copies": "number", "_replicas": "number", "_decision": "state"}
    kind = next((kind for end, kind in kinds.items() if field.endswith(end)), "text")
    known = {"site": SITE, "dataset": DATASET}
    return known.get(field) or Column(field, field.removesuffix("_bytes").removeprefix("num_").replace("_", " "), kind)


def _place_of(field: str) -> tuple[int, str]:
    """Names first, then what was before, what is now, and amounts. (Answers of errands have lost their order.)"""
    order = ("dataset", "site", "block", "old_", "new_", "quota", "newly_", "freed", "num_", "size")
    return next((place for place, begin in enumerate(order) if field.startswith(begin)), len(order)), field


def _place(plan_id: int) -> Chosen:
    return {"plan_id": str(plan_id)}
