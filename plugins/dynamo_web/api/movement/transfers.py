"""Files that move and go: subscriptions, copies and deletions under way and ended, and why something stands still."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.base.settings import settings
from dynamo_ops.fts.servers import job_page
from dynamo_ops.inventory.states import SubscriptionAction
from dynamo_ops.query.contents import file_name
from dynamo_ops.query.explanation import why, why_file
from dynamo_ops.query.movement import attempt
from dynamo_ops.query.movement.attempt import AttemptFilter
from dynamo_ops.query.movement.figures import standing
from dynamo_ops.query.movement.subscription import (
    SUBSCRIPTIONS,
    SubscriptionFilter,
    file_document,
    queue_rules,
    subscription_document,
)
from dynamo_ops.query.paging.listing import Listing
from dynamo_web.caller.login import needs
from dynamo_web.databases import reading
from dynamo_web.lists import Id, ListerDep, ListQuery, Names, json_answer
from dynamo_web.lists import Query as Parameters

router = APIRouter(dependencies=[needs(Action.READ)])


class SubscriptionQuery(ListQuery):
    """``lfn``, ``dataset``, ``site``, ``origin``: names or globs; globs of LFNs only with a dataset. ``block``: behind
    the ``#``."""

    lfn: Names
    dataset: Names
    block: Names
    site: Names
    action: Names
    state: Names
    hold_reason: Names
    origin: Names
    activity: Names


class WhyQuery(Parameters):
    """``site``: a name or glob; without it all where the file is or shall be."""

    site: str | None = None


class NamedWhyQuery(WhyQuery):
    """``lfn``: of a file, as it is."""

    lfn: str


class FiguresQuery(Parameters):
    """``site``: names or globs. ``since``: what ended since then."""

    site: Names
    since: str = "24h"


class AttemptQuery(ListQuery):
    """``site``: names or globs. ``because``: a part of the reason."""

    site: Names
    state: Names
    because: str | None = None


class EndedQuery(AttemptQuery):
    """``since``, ``until``: when it ended: a date, a time, or how long ago. There are years of them: without ``since``
    those of a week."""

    since: str = "7d"
    until: str | None = None


class TransferQuery(AttemptQuery):
    """``source``: names or globs."""

    source: Names
    activity: Names


class EndedTransferQuery(EndedQuery):
    """``source``: names or globs."""

    source: Names
    activity: Names


@router.get("/subscriptions")
def list_subscriptions(query: Annotated[SubscriptionQuery, Query()], lister: ListerDep) -> Response:
    """What shall come or go and has not: active subscriptions by file and site."""
    asked = SubscriptionFilter(
        query.lfn,
        query.dataset,
        query.block,
        query.site,
        query.action,
        query.state,
        query.hold_reason,
        query.origin,
        query.activity,
    )
    return lister.answer(SUBSCRIPTIONS, asked, query)


@router.get("/subscriptions/{subscription_id}")
def show_subscription(subscription_id: Id) -> Response:
    """Why one stands where it stands, with its attempts and where the file could come from."""
    explained = why(reading(), subscription_id, queue_rules(settings()))
    return json_answer(subscription_document(explained, partial(job_page, settings().fts)))


@router.get("/files/why")
def show_named_file(query: Annotated[NamedWhyQuery, Query()]) -> Response:
    """As by its id."""
    return _why(query.lfn, query.site)


@router.get("/files/{file_id}/why")
def show_file(file_id: Id, query: Annotated[WhyQuery, Query()]) -> Response:
    """Where a file is, and at each site the subscription that is active, or was the last."""
    with reading().begin() as connection:
        lfn = file_name(connection, file_id)
    return _why(lfn, query.site)


@router.get("/transfers")
def show_transfers(query: Annotated[FiguresQuery, Query()]) -> Response:
    """Copies in figures: subscribed, under way, ended."""
    return _figures(SubscriptionAction.COPY, query)


@router.get("/transfers/under-way")
def list_transfers(query: Annotated[TransferQuery, Query()], lister: ListerDep) -> Response:
    """Copies under way, each."""
    return _attempts(attempt.TRANSFERS_UNDER_WAY, query, lister)


@router.get("/transfers/ended")
def list_ended_transfers(query: Annotated[EndedTransferQuery, Query()], lister: ListerDep) -> Response:
    """Attempts at copies that ended, newest first."""
    return _attempts(attempt.TRANSFERS_ENDED, query, lister)


@router.get("/deletions")
def show_deletions(query: Annotated[FiguresQuery, Query()]) -> Response:
    """Deletions in figures: subscribed, under way, ended."""
    return _figures(SubscriptionAction.DELETE, query)


@router.get("/deletions/under-way")
def list_deletions(query: Annotated[AttemptQuery, Query()], lister: ListerDep) -> Response:
    """Deletions under way, each."""
    return _attempts(attempt.DELETIONS_UNDER_WAY, query, lister)


@router.get("/deletions/ended")
def list_ended_deletions(query: Annotated[EndedQuery, Query()], lister: ListerDep) -> Response:
    """Attempts at deletions that ended, newest first."""
    return _attempts(attempt.DELETIONS_ENDED, query, lister)


def _why(lfn: str, site: str | None) -> Response:
    file = why_file(reading(), lfn, site, queue_rules(settings()))
    return json_answer(file_document(file, partial(job_page, settings().fts)))


def _attempts(listing: Listing[AttemptFilter], query: AttemptQuery, lister: ListerDep) -> Response:
    """Parameters that this list does not have ask nothing."""
    asked = AttemptFilter(
        query.site,
        getattr(query, "source", ()),
        query.state,
        getattr(query, "activity", ()),
        query.because,
        getattr(query, "since", None),
        getattr(query, "until", None),
    )
    return lister.answer(listing, asked, query)


def _figures(action: SubscriptionAction, query: FiguresQuery) -> Response:
    return json_answer(standing(reading(), action, query.site, query.since, datetime.now(UTC)))
