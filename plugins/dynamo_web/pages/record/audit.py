"""The audit: who did what, refusals included."""

from __future__ import annotations

from fastapi import APIRouter

from dynamo_ops.access.actions import Action
from dynamo_ops.query.record.audit import AUDIT, AuditFilter
from dynamo_web.caller.login import needs
from dynamo_web.pages.part.listed import Chosen, Listed
from dynamo_web.pages.part.table import Choice, Column, globs

router = APIRouter(dependencies=[needs(Action.READ_AUDIT)])


def _records(chosen: Chosen) -> AuditFilter:
    persons, actions, outcomes = (globs(chosen[name]) for name in ("person", "action", "outcome"))
    return AuditFilter(persons, actions, outcomes, chosen["about"] or None, chosen["since"] or None)


RECORDS = Listed(
    tab="audit",
    path="audit",
    title="Audit",
    noun="records",
    listing=AUDIT,
    columns=(
        Column("at", "when", "moment"),
        Column("person", "who"),
        Column("known_by", "known by"),
        Column("action", "what"),
        Column("object", "of"),
        Column("outcome", "outcome", "state"),
        Column("reason", "reason", "long"),
    ),
    asked=_records,
    choices=(
        Choice("person", "Who", hint="a name or glob"),
        Choice("action", "What"),
        Choice("outcome", "Outcome"),
        Choice("about", "Of", hint="a part of it"),
        Choice("since", "Since", hint="2026-01-31, or 7d"),
    ),
)
RECORDS.serve(router)
