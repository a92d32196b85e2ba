"""Locks, gates, and the audit: what nobody may delete, what gates said, who did what."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.lock import store
from dynamo_ops.query.record.audit import AUDIT, AuditFilter
from dynamo_ops.query.record.gate import GATE_RESULTS, GateFilter
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import ListerDep
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.listed import Chosen, ListPage
from dynamo_web.pages.part.table import Choice, Column, Filter, Table, globs

router = APIRouter()

SINCE = Choice("since", "Since", hint="2026-01-31, or 7d")
LOCKS = (
    Column("id", "lock"),
    Column("item", "what"),
    Column("sites", "at sites"),
    Column("groups", "of groups"),
    Column("expires_at", "until", "moment"),
    Column("created_by", "by"),
    Column("reason", "reason"),
)


def _gates(chosen: Chosen) -> GateFilter:
    subjects = [chosen["subject"]] if chosen["subject"] else ()
    return GateFilter(globs(chosen["gate"]), globs(chosen["verdict"]), subjects, (), chosen["since"] or None)


def _records(chosen: Chosen) -> AuditFilter:
    persons, actions, outcomes = (globs(chosen[name]) for name in ("person", "action", "outcome"))
    return AuditFilter(persons, actions, outcomes, chosen["about"] or None, chosen["since"] or None)


GATES = ListPage(
    "gates",
    "gates",
    "Gates",
    "results",
    GATE_RESULTS,
    (
        Column("checked_at", "when", "moment"),
        Column("gate", "gate"),
        Column("subject", "of"),
        Column("check", "check"),
        Column("verdict", "verdict", "state"),
        Column("num_unexpected", "rows at fault", "number"),
        Column("observed", "found"),
    ),
    lambda chosen: GateFilter(
        globs(chosen["gate"]),
        globs(chosen["verdict"]),
        [chosen["subject"]] if chosen["subject"] else (),
        (),
        chosen["since"] or None,
    ),
    (
        Choice("gate", "Gate", hint="detox, metadata, …"),
        Choice("verdict", "Verdict", ("passed", "warned", "refused")),
        Choice("subject", "Of", hint="a glob"),
        SINCE,
    ),
)
RECORDS = ListPage(
    "audit",
    "audit",
    "Audit",
    "records",
    AUDIT,
    (
        Column("at", "when", "moment"),
        Column("person", "who"),
        Column("known_by", "known by"),
        Column("action", "what"),
        Column("object", "of"),
        Column("outcome", "outcome", "state"),
        Column("reason", "reason"),
    ),
    lambda chosen: AuditFilter(
        globs(chosen["person"]),
        globs(chosen["action"]),
        globs(chosen["outcome"]),
        chosen["about"] or None,
        chosen["since"] or None,
    ),
    (
        Choice("person", "Who", hint="a name or glob"),
        Choice("action", "What"),
        Choice("outcome", "Outcome"),
        Choice("about", "Of", hint="a part of it"),
        SINCE,
    ),
)


@router.get("/locks", dependencies=[needs(Action.READ)])
def list_locks(request: Request, person: Who, item: str = "") -> Response:
    """Those in force, newest first."""
    rows = store.list_locks(reading(), item=item or None).to_dicts()
    asked = Filter("locks", (Choice("item", "What", hint="of a lock, or a glob"),), {"item": item})
    table = Table(LOCKS, rows, nothing="Nothing is locked.")
    return page(request, person, "locks", "list.html", title="Locks", about="", table=table, asked=asked, number="")


@router.get("/gates", dependencies=[needs(Action.READ)])
def list_gates(request: Request, person: Who, lister: ListerDep) -> Response:
    """What gates said, newest first."""
    return GATES.answer(request, person, lister)


@router.get("/audit", dependencies=[needs(Action.READ_AUDIT)])
def list_records(request: Request, person: Who, lister: ListerDep) -> Response:
    """Who did what, newest first, refusals included."""
    return RECORDS.answer(request, person, lister)
