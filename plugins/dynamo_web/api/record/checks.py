"""What is checked: storages against the inventory, data by gates, sources by their age; and what vanished there."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from dynamo_ops.access.actions import Action
from dynamo_ops.base.settings import settings
from dynamo_ops.inventory.catalogue.vanished import vanished_document
from dynamo_ops.quality.results import trend
from dynamo_ops.query.record.consistency import (
    CHECKS,
    FINDINGS,
    CheckFilter,
    FindingFilter,
    check_card,
    lost_document,
)
from dynamo_ops.query.record.freshness import freshness
from dynamo_ops.query.record.gate import GATE_RESULTS, GateFilter
from dynamo_ops.query.record.vanished import SET_ASIDE, VANISHED, SetAsideFilter, VanishedFilter
from dynamo_web.caller.login import needs
from dynamo_web.databases import reading
from dynamo_web.lists import Id, ListerDep, ListQuery, Names, json_answer, rows_answer
from dynamo_web.lists import Query as Parameters

router = APIRouter(dependencies=[needs(Action.READ)])


class CheckQuery(ListQuery):
    """``site``: names or globs. ``since``: a date, a time, or how long ago it began."""

    site: Names
    state: Names
    since: str | None = None


class FindingQuery(ListQuery):
    """``lfn``: names or globs. ``document``: what is lost, as a document for `dynamo invalidate`."""

    kind: Names
    state: Names
    lfn: Names
    document: bool = False


class ResultQuery(ListQuery):
    """``subject`` (source or partition), ``run``: names or globs."""

    gate: Names
    verdict: Names
    subject: Names
    run: Names
    since: str | None = None


class TrendQuery(Parameters):
    """``days``: so many back from the newest."""

    gate: str
    subject: str
    metric: str
    days: int = Field(30, ge=1, le=3660)


class VanishedQuery(ListQuery):
    """``name``: names or globs. ``document``: all of it as a document for `dynamo invalidate`."""

    kind: Names
    source: Names
    name: Names
    document: bool = False


class SetAsideQuery(ListQuery):
    """``dataset``: names or globs."""

    source: Names
    dataset: Names


@router.get("/consistency/checks")
def list_checks(query: Annotated[CheckQuery, Query()], lister: ListerDep) -> Response:
    """Checks of storages, newest first."""
    return lister.answer(CHECKS, CheckFilter(query.site, query.state, query.since), query)


@router.get("/consistency/checks/{check_id}")
def show_check(check_id: Id) -> Response:
    """One, and what it found by kind and state."""
    return json_answer(check_card(reading(), check_id))


@router.get("/consistency/checks/{check_id}/findings")
def list_findings(check_id: Id, query: Annotated[FindingQuery, Query()], lister: ListerDep) -> Response:
    """Files that differ, by kind."""
    if query.document:
        with lister.heavy():
            return json_answer(lost_document(reading(), check_id))
    return lister.answer(FINDINGS, FindingFilter(check_id, query.kind, query.state, query.lfn), query)


@router.get("/gates/results")
def list_results(query: Annotated[ResultQuery, Query()], lister: ListerDep) -> Response:
    """What gates found, check by check, newest first."""
    asked = GateFilter(query.gate, query.verdict, query.subject, query.run, query.since)
    return lister.answer(GATE_RESULTS, asked, query)


@router.get("/gates/trend")
def show_trend(query: Annotated[TrendQuery, Query()]) -> Response:
    """A figure that a gate measured, over time."""
    return rows_answer(trend(reading(), query.gate, query.subject, query.metric, query.days).to_dicts())


@router.get("/freshness")
def show_freshness() -> Response:
    """How old metadata and accesses are, by source, and the days that are missing."""
    return json_answer(freshness(reading(), settings()))


@router.get("/vanished")
def list_vanished(query: Annotated[VanishedQuery, Query()], lister: ListerDep) -> Response:
    """What sources told of once and do not tell any more, newest first."""
    if query.document:
        with lister.heavy():
            return json_answer(vanished_document(reading(), query.kind, query.source))
    return lister.answer(VANISHED, VanishedFilter(query.kind, query.source, query.name), query)


@router.get("/set-aside")
def list_set_aside(query: Annotated[SetAsideQuery, Query()], lister: ListerDep) -> Response:
    """Datasets of which a source told a bad record, newest first."""
    return lister.answer(SET_ASIDE, SetAsideFilter(query.source, query.dataset), query)
