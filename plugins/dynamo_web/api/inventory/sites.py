"""Sites: can they be used, what waits, how full they are, what only they have."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.inventory.site.downtime import site_states
from dynamo_ops.inventory.site.lookup import names_like
from dynamo_ops.query.only_here import ONLY_HERE, OnlyHereFilter
from dynamo_ops.query.record.forecast import site_forecast
from dynamo_ops.query.site_card import site_card
from dynamo_web.caller.login import needs
from dynamo_web.databases import reading
from dynamo_web.lists import ListerDep, ListQuery, Names, json_answer, rows_answer
from dynamo_web.lists import Query as Parameters

router = APIRouter(dependencies=[needs(Action.READ)])


class SiteQuery(Parameters):
    """``site``: names or globs; without any all."""

    site: Names


class OnlyHereQuery(ListQuery):
    """``dataset``: names or globs."""

    dataset: Names


@router.get("/sites")
def list_sites(query: Annotated[SiteQuery, Query()]) -> Response:
    """Sites by name, with their status and why, and what waits."""
    states = site_states(reading()).to_dicts()
    names = names_like(reading(), *query.site) if query.site else [state["site"] for state in states]
    return rows_answer([state for state in states if state["site"] in names])


@router.get("/sites/{name}")
def show_site(name: str) -> Response:
    """All about one: site, partitions, groups, largest datasets, downtimes, the last check."""
    return json_answer(asdict(site_card(reading(), name)))


@router.get("/sites/{name}/forecast")
def show_forecast(name: str) -> Response:
    """Whether it is filling, and until when: a straight line through what it held on the last days."""
    return json_answer(asdict(site_forecast(reading(), name)))


@router.get("/sites/{name}/only-here")
def list_only_here(name: str, query: Annotated[OnlyHereQuery, Query()], lister: ListerDep) -> Response:
    """Blocks with files of which no other site has a good copy."""
    return lister.answer(ONLY_HERE, OnlyHereFilter(name, query.dataset), query)
