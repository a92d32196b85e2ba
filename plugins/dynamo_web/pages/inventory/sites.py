"""Sites: can they be used and why, how full they are and until when, what waits, what only they have."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action, Target
from dynamo_ops.inventory.site.downtime import site_states
from dynamo_ops.query.decision import cycle
from dynamo_ops.query.only_here import ONLY_HERE, OnlyHere, OnlyHereFilter, only_here_in_all
from dynamo_ops.query.paging.listing import LARGEST_LIMIT, Window, read_page
from dynamo_ops.query.record.forecast import Forecast, site_forecast
from dynamo_ops.query.record.quota import QUOTAS, QuotaFilter
from dynamo_ops.query.site_card import site_card
from dynamo_ops.query.usage import usage_by_day, usage_now
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import PATIENCE_S, ListerDep
from dynamo_web.pages.part.act import REASON, Act, Field, offered
from dynamo_web.pages.part.cells import number, size
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import segment, to_group, to_named, to_plan, to_site
from dynamo_web.pages.part.listed import Listed
from dynamo_web.pages.part.plot import Plot, PlotKind, Unit
from dynamo_web.pages.part.table import Choice, Column, Row, Table, globs

router = APIRouter(dependencies=[needs(Action.READ)])
SHOWN_DAYS, SUM = 180, "sum"
"""Of what a site held."""

SITES = (
    Column("site", "site", link=to_site),
    Column("storage_type", "storage"),
    Column("status", "status", "state"),
    Column("why", "because", "long"),
    Column("is_readable", "read", "yes", note="whether files are read there now"),
    Column("is_writable", "written", "yes", note="whether files are written there now"),
    Column("size_bytes", "on disk", "size"),
    Column("quota_bytes", "quota", "size", note="of its partitions together; none: unknown, or without limit"),
    Column("full", "full", "share", note="on disk, of the quota"),
    Column("projected_bytes", "projected", "size", note="once all is there that is to be"),
    Column("num_copies_to", "files to come", "number", link=lambda row: f"transfers/queue?site={segment(row['site'])}"),
    Column("bytes_to", "to come", "size"),
    Column("num_held", "held", "number", note="of the files to come: what waits for something to change"),
    Column("num_deletions", "files to go", "number", link=lambda row: f"deletions/queue?site={segment(row['site'])}"),
)
PARTITIONS = (
    Column("partition", "partition"),
    Column("quota_bytes", "quota", "quota"),
    Column("bytes_before", "before Detox", "size", note="when it last decided"),
    Column("protected_bytes", "protected", "size", note="what its policy let nobody delete"),
    Column("bytes_after", "after Detox", "size", note="what has come since is not in it"),
    Column("at", "Detox committed", "moment"),
    Column("plan_id", "plan", link=to_plan),
)
OWNERS = (
    Column("group", "group", link=to_group),
    Column("num_blocks", "block replicas", "number"),
    Column("num_complete", "complete", "number"),
    Column("size_bytes", "on disk", "size"),
    Column("projected_bytes", "projected", "size", note="once all is there that is to be"),
)
LARGEST = (
    Column("dataset", "dataset", link=to_named),
    Column("num_blocks", "block replicas", "number"),
    Column("size_bytes", "on disk", "size"),
)
DAYS = (Column("day", "day"), Column("figure", "what"), Column("size_bytes", "size", "size"))
CYCLES = (
    Column("at", "when", "moment"),
    Column("partition", "partition"),
    Column("quota_bytes", "quota", "quota"),
    Column("bytes_before", "before", "size"),
    Column("protected_bytes", "protected", "size"),
    Column("deleted_bytes", "deleted", "size"),
    Column("bytes_after", "after", "size"),
    Column("plan_id", "plan", link=to_plan),
)
DOWNTIMES = (
    Column("begins_at", "from", "moment"),
    Column("ends_at", "until", "moment"),
    Column("reason", "reason", "long"),
    Column("created_by", "by"),
)
FINDINGS = (Column("kind", "differs"), Column("number", "files", "number"))
LAST = Listed(
    tab="sites",
    path="sites/{site}/only-here",
    title="What only {site} has",
    noun="blocks",
    listing=ONLY_HERE,
    columns=(
        Column("dataset", "dataset", link=to_named),
        Column("block", "block"),
        Column("group", "owned by", link=to_group),
        Column("num_files", "files only here", "number"),
        Column("num_files_of_block", "of", "number"),
        Column("size_bytes", "size", "size"),
    ),
    asked=lambda chosen: OnlyHereFilter(chosen["site"], globs(chosen["dataset"])),
    choices=(Choice("dataset", "Dataset", hint="a name or glob"), Choice(SUM, "With the sum", ("yes",))),
    about="Blocks with files of which no other site has a good copy: they would be lost with it.",
    template="only_here.html",
)


@router.get("/sites")
def list_sites(request: Request, person: Who) -> Response:
    """All of them."""
    nothing = {"size_bytes": 0, "projected_bytes": 0}
    held = {row["site"]: row for row in usage_now(reading(), ["site"]).to_dicts()}
    quotas = _quotas()
    rows: list[dict[str, Any]] = [
        {**state, "why": because(state), **{name: held.get(state["site"], nothing)[name] for name in nothing}}
        for state in site_states(reading()).to_dicts()
    ]
    for row in rows:
        row["quota_bytes"] = quotas.get(row["site"])
        row["full"] = row["size_bytes"] / row["quota_bytes"] if row["quota_bytes"] else None
    sites = Table(SITES, rows, nothing="There is no site yet.", most=500)
    drawn = ("size_bytes", "projected_bytes", "quota_bytes")
    plots = [
        Plot(PlotKind.BARS, "On disk, once all has come, and quota", "sites", "site", drawn),
        Plot(PlotKind.BARS, "On disk, of the quota", "sites", "site", ("full",), Unit.SHARE),
    ]
    return page(request, person, "sites", "sites.html", sites=sites, plots=plots)


@router.get("/sites/{name}")
def show_site(request: Request, person: Who, name: str) -> Response:
    """One site: partitions, owners, largest datasets, what only it has, downtimes, the last check, a forecast."""
    card = asdict(site_card(reading(), name))
    since = datetime.now(UTC) - timedelta(days=SHOWN_DAYS)
    outlook = site_forecast(reading(), name)
    by_day = usage_by_day(reading(), since.date(), ["site"], sites=[name]).to_dicts()
    cycles = cycle.of_sites(reading(), name, since=since, partition=None, most=cycle.MOST)
    line = Plot(PlotKind.LINES, "What it holds", "days", "day", ("size_bytes",), parts="figure")
    check = card["check"] or {"findings": {}}
    findings = [{"kind": kind, "number": number} for kind, number in check["findings"].items()]
    return page(
        request,
        person,
        "sites",
        "site.html",
        card=card,
        why=because(card["site"]),
        forecast=outlook,
        partitions=Table(PARTITIONS, card["partitions"], nothing="It has no quota."),
        owners=Table(OWNERS, card["groups"], nothing="Nothing is there."),
        largest=Table(LARGEST, card["largest"], nothing="Nothing is there."),
        days=Table(
            DAYS, _days(by_day, outlook, card), nothing="No day is recorded: housekeeping records one each night."
        ),
        cycles=Table(CYCLES, cycles, nothing="Detox has decided nothing about it."),
        downtimes=Table(DOWNTIMES, card["downtimes"], nothing="None."),
        findings=Table(FINDINGS, findings, nothing="Nothing differs."),
        plots=[line] if len(by_day) > 1 else [],
        acts=offered(person, *_acts(name, card)),
    )


@router.get("/sites/{site}/only-here")
def list_only_here(request: Request, person: Who, lister: ListerDep, site: str) -> Response:
    """What would be lost with it; how much that is in all, where it is asked for: that reads all of it."""
    amounts = []
    if request.query_params.get(SUM):
        with lister.heavy(PATIENCE_S):
            amounts = _amounts(only_here_in_all(reading(), site))
    return LAST.answer(request, person, lister, {"site": site}, site=site, amounts=amounts)


def _quotas() -> dict[str, int | None]:
    """Of the partitions of each site together; None where one is unknown or has no limit."""
    sums: dict[str, int | None] = {}
    cursor, fields = None, ["site", "quota_bytes"]
    while True:
        part = read_page(reading(), QUOTAS, QuotaFilter(), Window(LARGEST_LIMIT, cursor, fields))
        for row in part.records():
            site, quota, sum_so_far = row["site"], row["quota_bytes"], sums.get(row["site"], 0)
            is_known = quota is not None and quota >= 0 and sum_so_far is not None
            sums[site] = (sum_so_far or 0) + quota if is_known else None
        if part.next is None:
            return sums
        cursor = part.next


def _amounts(amount: OnlyHere) -> list[tuple[str, str]]:
    return [
        ("blocks", number(amount.num_blocks)),
        ("files only here", number(amount.num_files)),
        ("size", size(amount.size_bytes)),
        ("blocks that are to come elsewhere", number(amount.num_blocks_coming)),
    ]


def because(state: Row) -> str:
    """Why a site is what it is."""
    parts = []
    if state["said_by"]:
        parts.append(f"{state['said_because']} ({state['said_by']})")
    if state["downtime"]:
        parts.append(f"in a downtime: {state['downtime']}")
    return "; ".join(parts)


def _days(by_day: list[dict[str, Any]], outlook: Forecast, card: dict[str, Any]) -> list[Row]:
    """What it held day by day; its quota; what nobody may delete; the line of the forecast."""
    rows: list[Row] = [{"day": row["day"], "figure": "on disk", "size_bytes": row["size_bytes"]} for row in by_day]
    if not rows:
        return rows
    ends = dict.fromkeys([rows[0]["day"], rows[-1]["day"]])
    protected = sum(row["protected_bytes"] or 0 for row in card["partitions"])
    steady = {"quota": outlook.quota_bytes, "protected": protected or None}
    rows += [
        {"day": day, "figure": figure, "size_bytes": amount}
        for figure, amount in steady.items()
        if amount is not None
        for day in ends
    ]
    if outlook.line and outlook.day and outlook.full_on:
        last = min(outlook.full_on, outlook.day + timedelta(days=SHOWN_DAYS))
        grown = outlook.size_bytes + round(outlook.line.bytes_per_day * (last - outlook.day).days)
        rows.append({"day": outlook.day.isoformat(), "figure": "forecast", "size_bytes": outlook.size_bytes})
        rows.append({"day": last.isoformat(), "figure": "forecast", "size_bytes": grown})
    return rows


def _acts(name: str, card: dict[str, Any]) -> list[Act]:
    path, then = f"/sites/{segment(name)}", f"sites/{segment(name)}"
    common: dict[str, Any] = {"action": Action.OPERATE_SITE, "of": Target(sites=(name,)), "then": then}
    until = Field("until", "Until", hint="2026-12-31, or 3 days; empty: until it is taken back")
    status = Field("status", "Status", options=("ready", "waitroom", "morgue"), is_required=True)
    acts = [
        Act(
            title="Set its status",
            about="It has this status from now on, whatever its source says.",
            method="PUT",
            path=f"{path}/status",
            fields=(status, REASON, until),
            confirm=name,
            **common,
        ),
        Act(
            title="Announce a downtime",
            about="Nothing goes to or from it until then.",
            method="POST",
            path=f"{path}/downtimes",
            fields=(Field("begin", "From", hint="2026-12-24, or 2 hours; empty: now"), until, REASON),
            **common,
        ),
        Act(
            title="Set a quota",
            about="Of a partition there: above its mark Detox deletes, and the Dealer places no more than it.",
            action=Action.SET_PARTITION_QUOTA,
            method="PUT",
            path="/quotas/partitions",
            fields=(
                Field(
                    "partition",
                    "Partition",
                    options=tuple(row["partition"] for row in card["partitions"]),
                    is_required=True,
                ),
                Field("quota", "Quota", hint="500 TB, or unlimited", is_required=True),
                REASON,
            ),
            sent={"sites": [name]},
            confirm=name,
            of=Target(sites=(name,)),
            then=then,
        ),
        Act(
            title="Evacuate it",
            about="It is given up: in the morgue, and no quota. The Dealer copies away what only it has; nothing is "
            "deleted for it.",
            action=Action.SET_PARTITION_QUOTA,
            method="POST",
            path=f"{path}/evacuation",
            fields=(REASON,),
            confirm=name,
            of=Target(sites=(name,)),
            then=f"{then}/only-here?sum=yes",
        ),
    ]
    if card["site"]["said_by"]:
        about = "It is what its source says again."
        acts.append(Act(title="Take its status back", about=about, method="DELETE", path=f"{path}/status", **common))
    if card["downtimes"]:
        about = "Downtimes that last now end."
        acts.append(Act(title="End its downtime", about=about, method="DELETE", path=f"{path}/downtimes", **common))
    return acts
