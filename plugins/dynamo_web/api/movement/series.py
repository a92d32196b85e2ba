"""What moved and went, by hour or day, link and error: from sums that are kept."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.query.movement import series
from dynamo_ops.query.movement.series import Span
from dynamo_web.caller.login import needs
from dynamo_web.databases import reading
from dynamo_web.lists import Names, rows_answer
from dynamo_web.lists import Query as Parameters

router = APIRouter(dependencies=[needs(Action.READ)])


class SpanQuery(Parameters):
    """``site``: names or globs. ``since``, ``until``: a date, a time, or how long ago."""

    site: Names
    since: str = "1d"
    until: str | None = None


class LinkQuery(SpanQuery):
    """``source``: names or globs."""

    source: Names


class SeriesQuery(SpanQuery):
    """``by``: site, outcome, error. ``step``: hour or day."""

    by: Names
    step: str = "hour"
    outcome: Names


class TransferSeriesQuery(SeriesQuery):
    """``by``: also source. ``source``: names or globs."""

    source: Names


@router.get("/transfers/series")
def show_transfer_series(query: Annotated[TransferSeriesQuery, Query()]) -> Response:
    """Attempts at copies that ended, by hour or day, and by what is asked for."""
    span = Span(query.since, query.until, query.site, query.source)
    found = series.transfer_series(reading(), span, query.by, step=query.step, outcomes=query.outcome)
    return rows_answer(found.to_dicts())


@router.get("/transfers/links")
def show_links(query: Annotated[LinkQuery, Query()]) -> Response:
    """What came from where: done, failed, and how fast a file was on average."""
    return rows_answer(series.links(reading(), Span(query.since, query.until, query.site, query.source)).to_dicts())


@router.get("/transfers/errors")
def show_errors(query: Annotated[LinkQuery, Query()]) -> Response:
    """Copies that failed, by class of error, source and site; most files first."""
    return rows_answer(series.errors(reading(), Span(query.since, query.until, query.site, query.source)).to_dicts())


@router.get("/deletions/series")
def show_deletion_series(query: Annotated[SeriesQuery, Query()]) -> Response:
    """Attempts at deletions that ended, by hour or day, and by what is asked for."""
    span = Span(query.since, query.until, query.site)
    found = series.deletion_series(reading(), span, query.by, step=query.step, outcomes=query.outcome)
    return rows_answer(found.to_dicts())
