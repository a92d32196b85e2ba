"""Groups and the inventory: who owns what and where, and how much there is of what."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action, Target
from dynamo_ops.query.group import OWNED, OwnedFilter, group_card
from dynamo_ops.query.usage import IDLE, LONG_IDLE, NEVER_READ, usage_by_day, usage_now
from dynamo_ops.request.unique_quota import group_usage
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import ListerDep
from dynamo_web.pages.part.act import Act, Field, offered
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import address, segment, to_group, to_named, to_site
from dynamo_web.pages.part.listed import Listed
from dynamo_web.pages.part.plot import Plot, PlotKind
from dynamo_web.pages.part.table import Choice, Column, Filter, Row, Table, globs

router = APIRouter(dependencies=[needs(Action.READ)])
SHOWN_DAYS = 365

BY = ("site", "group", "tier", "status", "release", "idle")
FIGURES = (
    Column("num_blocks", "block replicas", "number"),
    Column("num_complete", "complete", "number"),
    Column("size_bytes", "on disk", "size"),
    Column("projected_bytes", "projected", "size", note="once all is there that is to be"),
)
DATASET = Column("dataset", "dataset", link=to_named)
SITE = Column("site", "site", link=to_site)
GROUP = Column("group", "group", link=to_group)
KNOWN = {"site": SITE, "group": GROUP, "idle": Column("idle", "nobody read it", note="as popularity knows")}
GROUPS = (
    GROUP,
    Column("quota_bytes", "quota", "quota"),
    Column("unique_bytes", "unique data", "size", note="each file once, wherever it is"),
    Column("free_bytes", "free", "size"),
)
DAYS = (Column("day", "day"), SITE, Column("size_bytes", "on disk", "size"))
AGES = (KNOWN["idle"], Column("size_bytes", "on disk", "size"))
OWNS = Listed(
    tab="groups",
    path="groups/{group}/datasets",
    title="What {group} owns",
    noun="datasets",
    listing=OWNED,
    columns=(DATASET, SITE, Column("status", "status", "state"), *FIGURES),
    asked=lambda chosen: OwnedFilter(chosen["group"], globs(chosen["site"]), globs(chosen["dataset"])),
    choices=(Choice("site", "Site", hint="T2_*"), Choice("dataset", "Dataset", hint="a name or glob")),
)


@router.get("/groups")
def list_groups(request: Request, person: Who) -> Response:
    """All of them, by name."""
    groups = Table(GROUPS, group_usage(reading()).to_dicts(), nothing="There are no groups.", most=500)
    plots = [Plot(PlotKind.BARS, "Unique data and quota", "groups", "group", ("unique_bytes", "quota_bytes"))]
    return page(request, person, "groups", "groups.html", groups=groups, plots=plots)


@router.get("/groups/{name}")
def show_group(request: Request, person: Who, name: str) -> Response:
    """One: its quota, what it has at which site, its largest datasets."""
    card = asdict(group_card(reading(), name))
    since = datetime.now(UTC).date() - timedelta(days=SHOWN_DAYS)
    by_day = usage_by_day(reading(), since, ["site"], groups=[name]).to_dicts()
    largest = (DATASET, Column("num_sites", "sites", "number"), Column("size_bytes", "on disk", "size"))
    act = Act(
        title="Set its quota",
        about="So much unique data it may own and ask for.",
        action=Action.SET_GROUP_QUOTA,
        method="PUT",
        path=f"/quotas/groups/{segment(name)}",
        fields=(Field("quota", "Quota", hint="500 TB, or unlimited", is_required=True),),
        confirm=name,
        of=Target(groups=(name,)),
        then=f"groups/{segment(name)}",
    )
    return page(
        request,
        person,
        "groups",
        "group.html",
        group=card["group"],
        sites=Table((SITE, Column("num_datasets", "datasets", "number"), *FIGURES), card["sites"]),
        largest=Table(largest, card["largest"]),
        days=Table(DAYS, by_day, nothing="No day is recorded: housekeeping records one each night."),
        ages=_ages(groups=[name]),
        plots=[
            Plot(PlotKind.BARS, "At sites", "sites", "site", ("size_bytes",)),
            Plot(PlotKind.BARS, "Since when nobody read it", "ages", "idle", ("size_bytes",)),
            Plot(PlotKind.STACK, "Day by day", "days", "day", ("size_bytes",), parts="site"),
        ],
        acts=offered(person, act),
    )


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
    columns = [KNOWN.get(name, Column(name, name)) for name in dimensions]
    choices = (
        Choice("by", "By", BY),
        Choice("also", "and", BY),
        Choice("site", "At site", hint="T2_*"),
        Choice("group", "Owned by"),
    )
    parts = dimensions[1] if len(dimensions) > 1 else ""
    title = f"On disk by {' and '.join(dimensions)}"
    rest = address("/usage", {"by": dimensions, "site": globs(site), "group": globs(group)})
    return page(
        request,
        person,
        "inventory",
        "inventory.html",
        sums=Table((*columns, *FIGURES), rows, nothing="There is nothing.", most=500),
        asked=Filter("inventory", choices, chosen),
        ages=_ages(sites=globs(site), groups=globs(group)),
        plots=[
            Plot(PlotKind.STACK, title, "sums", by, ("size_bytes",), parts=parts, rest=rest),
            *([Plot(PlotKind.TREE, title, "sums", by, ("size_bytes",), parts=parts, rest=rest)] if parts else []),
            Plot(PlotKind.BARS, "Since when nobody read it", "ages", "idle", ("size_bytes",)),
        ],
    )


def _ages(sites: list[str] | None = None, groups: list[str] | None = None) -> Table:
    """What is on disk, by how long nobody read it."""
    amounts = usage_now(reading(), ["idle"], sites=sites or (), groups=groups or ())
    held = dict(amounts.select("idle", "size_bytes").iter_rows())
    rows: list[Row] = [{"idle": age, "size_bytes": held.get(age, 0)} for age in (*IDLE, LONG_IDLE, NEVER_READ)]
    return Table(AGES, rows if held else [], nothing="There is nothing.")
