"""Sites: can they be used and why, how full they are, what waits, what only they have."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.inventory.site.downtime import site_states
from dynamo_ops.query.only_here import ONLY_HERE, OnlyHereFilter
from dynamo_ops.query.paging.listing import Window, read_page
from dynamo_ops.query.site_card import site_card
from dynamo_ops.query.usage import usage_now
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import ListerDep
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import address, to_named, to_plan, to_site
from dynamo_web.pages.part.table import Column, Table

router = APIRouter(dependencies=[needs(Action.READ)])


SITES = (
    Column("site", "site", link=to_site),
    Column("storage_type", "storage"),
    Column("status", "status", "state"),
    Column("why", "because"),
    Column("is_readable", "read", "yes", note="whether files are read there now"),
    Column("is_writable", "written", "yes", note="whether files are written there now"),
    Column("size_bytes", "on disk", "size"),
    Column("num_copies_to", "files to come", "number"),
    Column("bytes_to", "to come", "size"),
    Column("num_held", "held", "number", note="of the files to come: what waits for something to change"),
    Column("num_deletions", "files to go", "number"),
)
PARTITIONS = (
    Column("partition", "partition"),
    Column("quota_bytes", "quota", "quota"),
    Column("bytes_before", "before", "size", note="when Detox last decided"),
    Column("protected_bytes", "protected", "size", note="what its policy let nobody delete"),
    Column("bytes_after", "after", "size"),
    Column("at", "Detox committed", "moment"),
    Column("plan_id", "plan", link=to_plan),
)
OWNERS = (
    Column("group", "group"),
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
LAST = (
    Column("dataset", "dataset", link=to_named),
    Column("block", "block"),
    Column("group", "owned by"),
    Column("num_files", "files only here", "number"),
    Column("num_files_of_block", "of", "number"),
    Column("size_bytes", "size", "size"),
)


@router.get("/sites")
def list_sites(request: Request, person: Who) -> Response:
    """All of them."""
    held = {row["site"]: row["size_bytes"] for row in usage_now(reading(), ["site"]).to_dicts()}
    rows = [
        {**state, "why": because(state), "size_bytes": held.get(state["site"], 0)}
        for state in site_states(reading()).to_dicts()
    ]
    return page(request, person, "sites", "sites.html", table=Table(SITES, rows, nothing="There is no site yet."))


@router.get("/sites/{name}")
def show_site(request: Request, person: Who, name: str) -> Response:
    """One site: partitions, owners, largest datasets, what only it has, downtimes, the last check."""
    card = asdict(site_card(reading(), name))
    return page(
        request,
        person,
        "sites",
        "site.html",
        card=card,
        why=because(card["site"]),
        partitions=Table(PARTITIONS, card["partitions"], nothing="It has no quota."),
        owners=Table(OWNERS, card["groups"], nothing="Nothing is there."),
        largest=Table(LARGEST, card["largest"], nothing="Nothing is there."),
    )


@router.get("/sites/{name}/only-here")
def list_only_here(
    request: Request, person: Who, lister: ListerDep, name: str, cursor: str | None = None, form: str = ""
) -> Response:
    """What would be lost with it: blocks with files of which no other site has a good copy."""
    if form == "csv":
        return lister.csv(ONLY_HERE, OnlyHereFilter(name), "only-here.csv")
    found = read_page(reading(), ONLY_HERE, OnlyHereFilter(name), Window(50, cursor, [each.name for each in LAST]))
    here = f"sites/{name}/only-here"
    following = address(here, {"cursor": found.next}) if found.next else None
    table = Table(LAST, found.records(), following, address(here, {"form": "csv"}), "Nothing is here alone.")
    return page(request, person, "sites", "only_here.html", name=name, table=table)


def because(state: Any) -> str:
    """Why a site is what it is."""
    said = []
    if state["said_by"]:
        said.append(f"{state['said_because']} ({state['said_by']})")
    if state["downtime"]:
        said.append(f"in a downtime: {state['downtime']}")
    return "; ".join(said)
