"""Groups, what they own; and how much there is, by what is asked for."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from dynamo_ops.access.actions import Action
from dynamo_ops.inventory.replica.read import summary
from dynamo_ops.query.group import OWNED, OwnedFilter, group_card
from dynamo_ops.query.usage import usage_by_day, usage_now
from dynamo_ops.request.unique_quota import group_usage
from dynamo_web.caller.login import needs
from dynamo_web.databases import reading
from dynamo_web.lists import ListerDep, ListQuery, Names, json_answer, rows_answer
from dynamo_web.lists import Query as Parameters

router = APIRouter(dependencies=[needs(Action.READ)])


class OwnedQuery(ListQuery):
    """``site``, ``dataset``: names or globs."""

    site: Names
    dataset: Names


class UsageQuery(Parameters):
    """``by``: site, group, status, tier, release, idle (since when nobody read it; now only); repeated.
    ``since``: day by day from then on."""

    by: list[str] = Field(default=["site"])
    site: Names
    group: Names
    since: date | None = None


@router.get("/groups")
def list_groups() -> Response:
    """All groups by name: what they may own, and how much of it they do."""
    return rows_answer(group_usage(reading()).to_dicts())


@router.get("/groups/{name}")
def show_group(name: str) -> Response:
    """Its quota, what it has at which site, its largest datasets."""
    return json_answer(asdict(group_card(reading(), name)))


@router.get("/groups/{name}/datasets")
def list_owned(name: str, query: Annotated[OwnedQuery, Query()], lister: ListerDep) -> Response:
    """What it owns, by dataset and site."""
    return lister.answer(OWNED, OwnedFilter(name, query.site, query.dataset), query)


@router.get("/usage")
def usage(query: Annotated[UsageQuery, Query()]) -> Response:
    """Block replicas and bytes, by what is asked for; now, or by day."""
    narrowed = {"sites": query.site, "groups": query.group}
    if query.since is None:
        return rows_answer(usage_now(reading(), query.by, **narrowed).to_dicts())
    return rows_answer(usage_by_day(reading(), query.since, query.by, **narrowed).to_dicts())


@router.get("/inventory")
def show_inventory() -> Response:
    """How much there is, in all and by site."""
    return json_answer(summary(reading()).document)
