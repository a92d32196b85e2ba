"""Groups and the inventory: who owns what and where, and how much there is of what."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.query.group import OWNED, OwnedFilter, group_card
from dynamo_ops.query.usage import usage_now
from dynamo_ops.request.unique_quota import group_usage
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import ListerDep
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import to_group, to_named, to_site
from dynamo_web.pages.part.listed import ListPage
from dynamo_web.pages.part.table import Choice, Column, Filter, Table, globs

router = APIRouter(dependencies=[needs(Action.READ)])

BY = ("site", "group", "tier", "status", "release")
FIGURES = (
    Column("num_blocks", "block replicas", "number"),
    Column("num_complete", "complete", "number"),
    Column("size_bytes", "on disk", "size"),
    Column("projected_bytes", "projected", "size", note="once all is there that is to be"),
)
DATASET = Column("dataset", "dataset", link=to_named)
SITE = Column("site", "site", link=to_site)
GROUPS = (
    Column("group", "group", link=to_group),
    Column("quota_bytes", "quota", "quota"),
    Column("unique_bytes", "unique data", "size", note="each file once, wherever it is"),
    Column("free_bytes", "free", "size"),
)
OWNS = ListPage(
    "groups",
    "groups/{group}/datasets",
    "What {group} owns",
    "datasets",
    OWNED,
    (DATASET, SITE, Column("status", "status", "state"), *FIGURES),
    lambda chosen: OwnedFilter(chosen["group"], globs(chosen["site"]), globs(chosen["dataset"])),
    (Choice("site", "Site", hint="T2_*"), Choice("dataset", "Dataset", hint="a name or glob")),
)


@router.get("/groups")
def list_groups(request: Request, person: Who) -> Response:
    """All of them, by name."""
    table = Table(GROUPS, group_usage(reading()).to_dicts(), nothing="There are no groups.")
    return page(request, person, "groups", "list.html", title="Groups", about="", table=table, asked=None, number="")


@router.get("/groups/{name}")
def show_group(request: Request, person: Who, name: str) -> Response:
    """One: its quota, what it has at which site, its largest datasets."""
    card = asdict(group_card(reading(), name))
    sites = Table((SITE, Column("num_datasets", "datasets", "number"), *FIGURES), card["sites"], nothing="Nothing.")
    largest = (DATASET, Column("num_sites", "sites", "number"), Column("size_bytes", "on disk", "size"))
    shown = {"sites": sites, "largest": Table(largest, card["largest"], nothing="Nothing.")}
    return page(request, person, "groups", "group.html", group=card["group"], **shown)


@router.get("/groups/{group}/datasets")
def list_owned(request: Request, person: Who, lister: ListerDep, group: str) -> Response:
    """What it owns, by dataset and site."""
    return OWNS.answer(request, person, lister, {"group": group})


@router.get("/inventory")
def show_inventory(
    request: Request,
    person: Who,
    by: Annotated[str, Query(max_length=20)] = "site",
    also: Annotated[str, Query(max_length=20)] = "",
    site: str = "",
    group: str = "",
) -> Response:
    """How much there is, by one or two of what it can be summed by."""
    chosen = {"by": by, "also": also, "site": site, "group": group}
    dimensions = list(dict.fromkeys(part for part in (by, also) if part))
    rows = usage_now(reading(), dimensions, sites=globs(site), groups=globs(group)).to_dicts()
    known = {"site": SITE, "group": Column("group", "group", link=to_group)}
    columns = [known.get(name, Column(name, name)) for name in dimensions]
    choices = (
        Choice("by", "By", BY),
        Choice("also", "and", BY),
        Choice("site", "At site", hint="T2_*"),
        Choice("group", "Owned by"),
    )
    table = Table((*columns, *FIGURES), rows, nothing="There is nothing.")
    asked = Filter("inventory", choices, chosen)
    about = "Block replicas and bytes, now."
    return page(
        request, person, "inventory", "list.html", title="Inventory", about=about, table=table, asked=asked, number=""
    )
