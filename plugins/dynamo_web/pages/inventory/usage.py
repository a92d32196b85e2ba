"""How much there is, by what it can be summed by."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.query.usage import IDLE, LONG_IDLE, NEVER_READ, usage_now
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import address, to_group, to_site
from dynamo_web.pages.part.plot import Plot, PlotKind
from dynamo_web.pages.part.table import Choice, Column, Filter, Row, Table, globs

router = APIRouter(dependencies=[needs(Action.READ)])

BY = ("site", "group", "tier", "status", "release", "idle")
FIGURES = (
    Column("num_blocks", "block replicas", "number"),
    Column("num_complete", "complete", "number"),
    Column("size_bytes", "on disk", "size"),
    Column("projected_bytes", "projected", "size", note="once all is there that is to be"),
)
SITE = Column("site", "site", link=to_site)
GROUP = Column("group", "group", link=to_group)
KNOWN = {"site": SITE, "group": GROUP, "idle": Column("idle", "nobody read it", note="as popularity knows")}
AGES = (KNOWN["idle"], Column("size_bytes", "on disk", "size"))


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
        ages=ages_of(sites=globs(site), groups=globs(group)),
        plots=[
            Plot(PlotKind.STACK, title, "sums", by, ("size_bytes",), parts=parts, rest=rest),
            *([Plot(PlotKind.TREE, title, "sums", by, ("size_bytes",), parts=parts, rest=rest)] if parts else []),
            Plot(PlotKind.BARS, "Since when nobody read it", "ages", "idle", ("size_bytes",)),
        ],
    )


def ages_of(sites: list[str] | None = None, groups: list[str] | None = None) -> Table:
    """What is on disk, by how long nobody read it."""
    amounts = usage_now(reading(), ["idle"], sites=sites or (), groups=groups or ())
    held = dict(amounts.select("idle", "size_bytes").iter_rows())
    rows: list[Row] = [{"idle": age, "size_bytes": held.get(age, 0)} for age in (*IDLE, LONG_IDLE, NEVER_READ)]
    return Table(AGES, rows if held else [], nothing="There is nothing.")
