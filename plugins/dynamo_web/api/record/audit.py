"""Who did what. For those who give rights."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.query.record.audit import AUDIT, AuditFilter
from dynamo_web.caller.login import needs
from dynamo_web.lists import ListerDep, ListQuery, Names

router = APIRouter(dependencies=[needs(Action.READ_AUDIT)])


class AuditQuery(ListQuery):
    """``person``: names or globs. ``about``: a part of what it was done to. ``since``: a date, a time, how long ago."""

    person: Names
    action: Names
    outcome: Names
    about: str | None = None
    since: str | None = None


@router.get("/audit")
def list_records(query: Annotated[AuditQuery, Query()], lister: ListerDep) -> Response:
    """Who did what, newest first, refusals included."""
    asked = AuditFilter(query.person, query.action, query.outcome, query.about, query.since)
    return lister.answer(AUDIT, asked, query)
