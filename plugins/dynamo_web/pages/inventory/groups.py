"""Groups: what each owns and where, how much it may own, since when nobody read it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action, Target
from dynamo_ops.query.group import OWNED, OwnedFilter, group_card
from dynamo_ops.query.usage import usage_by_day
from dynamo_ops.request.unique_quota import group_usage
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import ListerDep
from dynamo_web.pages.inventory.usage import FIGURES, GROUP, SITE, ages_of
from dynamo_web.pages.part.act import Act, Field, offered
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import segment, to_named
from dynamo_web.pages.part.listed import Listed
from dynamo_web.pages.part.plot import Plot, PlotKind
from dynamo_web.pages.part.table import Choice, Column, Table, globs

router = APIRouter(dependencies=[needs(Action.READ)])
SHOWN_DAYS = 365

DATASET = Column("dataset", "dataset", link=to_named)
GROUPS = (
    GROUP,
    Column("quota_bytes", "quota", "quota"),
    Column("unique_bytes", "unique data", "size", note="each file once, wherever it is"),
    Column("free_bytes", "free", "size"),
)
DAYS = (Column("day", "day"), SITE, Column("size_bytes", "on disk", "size"))
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
        ages=ages_of(groups=[name]),
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
