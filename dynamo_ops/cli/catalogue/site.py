"""``dynamo site``: which sites can be used, their status by hand, and downtimes of sites."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import polars as pl
import typer

from dynamo_ops.base.settings import settings
from dynamo_ops.base.units import size_text
from dynamo_ops.cli.catalogue import site_view
from dynamo_ops.cli.here.listed import Here
from dynamo_ops.cli.terminal.cells import cell, count, size
from dynamo_ops.cli.terminal.completion import complete_sites
from dynamo_ops.cli.terminal.confirm import ask
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.lists import AtMost, Fields, Format, print_list
from dynamo_ops.cli.terminal.options import (
    AnySite,
    AsJson,
    By,
    Dataset,
    From,
    Reason,
    SiteName,
    Until,
    Yes,
    future,
    who,
)
from dynamo_ops.cli.terminal.page import say, warn
from dynamo_ops.cli.terminal.tables import print_json, print_table
from dynamo_ops.inventory.site import ambiguous
from dynamo_ops.inventory.site import downtime as downtimes
from dynamo_ops.inventory.site import endpoint as site_endpoint
from dynamo_ops.inventory.site import override as site_override
from dynamo_ops.inventory.site import shared as shared_storage
from dynamo_ops.inventory.site.evacuation import evacuate
from dynamo_ops.query.only_here import ONLY_HERE, OnlyHereFilter, only_here_in_all
from dynamo_ops.query.site_card import site_card

app = typer.Typer(no_args_is_help=True, help="Sites: what can be used and what waits there, status by hand, downtimes.")

LISTED = {
    "site": "site",
    "storage_type": "storage",
    "status": "status",
    "because": "because",
    "use": "files are",
    "downtime": "downtime",
    "downtime_until": "until",
    "num_copies_to": "copies\nto it",
    "bytes_to": "size\nto it",
    "num_held": "of these\nheld",
    "num_copies_from": "copies\nfrom it",
    "num_deletions": "deletions",
}
DOWNTIMES = {
    "id": "downtime",
    "site": "site",
    "state": "state",
    "begins_at": "from",
    "ends_at": "until",
    "reason": "reason",
    "created_by": "by",
    "ended_by": "ended by",
}
OVERRIDES = {
    "site": "site",
    "status": "status",
    "is_in_force": "holds",
    "created_at": "from",
    "ends_at": "until",
    "reason": "reason",
    "created_by": "by",
    "ended_by": "ended by",
}
SHARED = {
    "site": "site",
    "other": "other site",
    "is_found": "found by\nendpoints",
    "is_equal": "equal\nplaces",
    "created_by": "declared by",
    "created_at": "at",
    "reason": "reason",
}
PROPOSED = {
    "protocol": "protocol",
    "prefix": "in force now",
    "proposed_prefix": "reported by its source",
    "proposed_at": "since",
}
MAPPINGS = {"site": "site", "protocol": "protocol", "because": "because"}

Other = Annotated[
    str, typer.Argument(metavar="OTHER", help="The other site of the storage.", autocompletion=complete_sites)
]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """All sites: status and why, downtime, and the copies and deletions that wait for them or are under way."""
    states = downtimes.site_states(database())
    if as_json:
        print_json(states.to_dicts())
        return
    use = (
        pl.when("is_writable").then(pl.lit("read, written"))
        .when("is_readable").then(pl.lit("read"))
        .otherwise(pl.lit("untouched"))
    )  # fmt: skip
    because = [_because(state) for state in states.iter_rows(named=True)]
    print_table(
        states.with_columns(use=use, because=pl.Series(because, dtype=pl.String)),
        "Sites",
        LISTED,
        wrap=["because", "downtime"],
    )


def _because(state: dict[str, Any]) -> str | None:
    """Why the status is not just what the site's source tells."""
    if state["said_by"] is not None:
        until = f" until {cell('said_until', state['said_until'])}" if state["said_until"] else ""
        source_status = (
            f" (its source: {state['told_status']})" if state["told_status"] not in (None, state["status"]) else ""
        )
        return f"set by {state['said_by']}{until}: {state['said_because']}{source_status}"
    if state["told_status"] not in (None, state["status"]):
        return f"{state['told_status']} only since {cell('told_since', state['told_since'])}"
    return None


@app.command()
def show(site: SiteName, as_json: AsJson = False) -> None:
    """All about SITE: status and why, what waits, how full it is, whose data it holds, its last check."""
    card = site_card(database(), site)
    if as_json:
        print_json(asdict(card))
    else:
        site_view.print_card(card, _because(card.site))


@app.command("only-here")
def only_here(
    site: SiteName,
    dataset: Dataset = None,
    fields: Fields = None,
    limit: AtMost = None,
    format_: Format = None,
    as_json: AsJson = False,
) -> None:
    """What only SITE has: blocks with files of which no other site has a good copy."""
    asked = OnlyHereFilter(site, [dataset] if dataset else [])
    print_list(
        Here(database(), ONLY_HERE, asked), f"Last copies at {site}", site_view.ONLY_HERE,
        format_=format_, fields=fields, limit=limit, as_json=as_json, wrap=["dataset", "block"],
    )  # fmt: skip


@app.command("set")
def set_(
    site: SiteName,
    status: Annotated[str, typer.Argument(help="ready, waitroom or morgue.")],
    reason: Reason,
    until: Until = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Give SITE this status now, whatever its source says."""
    override = site_override.set_status(
        database(), site, status, by=who(by), reason=reason, ends_at=future("--until", until)
    )
    if as_json:
        print_json(vars(override))
        return
    for warning in override.warnings:
        warn(f"{warning}")
    end = f"until {cell('ends_at', override.ends_at)}" if override.ends_at else f"until `dynamo site unset {site}`"
    say(f"{site} is {status} (was {override.status_before}), {end}")


@app.command()
def unset(site: SiteName, by: By = None, as_json: AsJson = False) -> None:
    """Let SITE have the status again that its source tells."""
    status = site_override.unset_status(database(), site, by=who(by), stable_h=settings().site_status.stable_h)
    if as_json:
        print_json({"site": site, "status": status})
    else:
        say(f"{site} is {status}: what its source tells counts again")


@app.command("evacuate")
def evacuate_(site: SiteName, reason: Reason, by: By = None, as_json: AsJson = False) -> None:
    """Give SITE up: morgue, and quotas of 0; what only it has is copied away."""
    done = evacuate(database(), site, by=who(by), reason=reason)
    left = only_here_in_all(database(), site)
    if as_json:
        print_json({**vars(done.override), "quotas": done.quotas.to_dicts(), "only_here": vars(left)})
        return
    for warning in done.override.warnings:
        warn(f"{warning}")
    say(f"{site} is {done.override.status} (was {done.override.status_before}), until `dynamo site unset {site}`")
    for partition, old_bytes in done.quotas.rows():
        say(f"quota of {partition} there: 0 (was {cell('quota_bytes', old_bytes)})")
    say(
        f"only there: {count(left.num_files, 'file')} of {count(left.num_blocks, 'block')}, "
        f"{size_text(left.size_bytes)}; files of {count(left.num_blocks_coming, 'block')} are to be copied to other "
        f"sites. Dealer cycles ask for the others, where a partition has the undertaker; `dynamo site only-here "
        f"{site}` lists them"
    )


@app.command()
def overrides(
    site: AnySite = None,
    over: Annotated[bool, typer.Option("--over", help="Also those that are over.")] = False,
    as_json: AsJson = False,
) -> None:
    """Statuses that people gave to sites, newest first."""
    statuses = site_override.overrides(database(), site, over=over)
    if as_json:
        print_json(statuses.to_dicts())
    else:
        print_table(statuses, "Statuses by hand", OVERRIDES, wrap=["reason"])


@app.command()
def drain(
    site: SiteName,
    reason: Reason,
    begin: From = None,
    until: Until = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Put SITE into a downtime: what runs ends, nothing new is copied to or from it or deleted there."""
    new_downtime = downtimes.drain(
        database(),
        site,
        by=who(by),
        reason=reason,
        begins_at=future("--from", begin),
        ends_at=future("--until", until),
    )
    if as_json:
        print_json(vars(new_downtime))
        return
    end = cell("ends_at", new_downtime.ends_at) if new_downtime.ends_at else f"`dynamo site resume {site}`"
    say(f"downtime {new_downtime.id} of {site}: from {cell('begins_at', new_downtime.begins_at)} until {end}")
    say("what waits for it is held by the next run of transfers, and released by itself when it is over")


@app.command()
def resume(
    site: SiteName,
    planned: Annotated[bool, typer.Option("--planned", help="Also end downtimes that are yet to come.")] = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """End the downtimes of SITE now."""
    ended = downtimes.resume(database(), site, by=who(by), planned=planned)
    if as_json:
        print_json({"site": site, "ended": ended})
    else:
        say(f"{site}: {count(len(ended), 'downtime')} ended; the next run of transfers uses it again")


@app.command()
def downtime(
    site: AnySite = None,
    over: Annotated[bool, typer.Option("--over", help="Also those that are over.")] = False,
    as_json: AsJson = False,
) -> None:
    """Downtimes that last or are to come."""
    site_downtimes = downtimes.downtimes(database(), site, over=over)
    if as_json:
        print_json(site_downtimes.to_dicts())
    else:
        print_table(site_downtimes, "Downtimes", DOWNTIMES, wrap=["reason"])


@app.command()
def shared(as_json: AsJson = False) -> None:
    """Sites that are one storage under two names, by their endpoints or as declared. Where nobody declared it, nothing
    is deleted at either."""
    pairs = shared_storage.shared_storages(database())
    if as_json:
        print_json(pairs.to_dicts())
        return
    print_table(pairs, "Sites that share a storage", SHARED, wrap=["reason"])


@app.command()
def mappings(as_json: AsJson = False) -> None:
    """Mappings that cannot be shown to be one-to-one, and why: nothing is deleted there."""
    doubtful = ambiguous.ambiguous_mappings(database())
    if as_json:
        print_json(doubtful.to_dicts())
        return
    print_table(doubtful, "Mappings that may give two files one name", MAPPINGS, wrap=["because"])


@app.command()
def accept(site: SiteName, yes: Yes = False, as_json: AsJson = False) -> None:
    """What the source of SITE reports is right: files are there now, whatever is under way. It shows the endpoints, and
    asks. See `dynamo digest`."""
    db = database()
    endpoints = site_endpoint.proposed(db, site)
    if not as_json:
        print_table(endpoints, f"Endpoints of {site}", PROPOSED, wrap=["prefix", "proposed_prefix"])
    ask(f"Look for the files of {site} there from now on? What is not there counts as gone", yes=yes)
    changed = site_endpoint.accept(db, site)
    if as_json:
        print_json({"site": site, "num_endpoints": changed})
    else:
        say(f"{site}: {count(changed, 'endpoint')} as its source reports")


@app.command()
def share(
    site: SiteName,
    other: Other,
    reason: Reason,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """SITE and OTHER share a storage on purpose: a file goes at neither while the other has it."""
    shared_storage.declare(database(), site, other, by=who(by), reason=reason)
    if as_json:
        print_json({"site": site, "other": other, "is_declared": True})
    else:
        say(f"{site} and {other} share a storage: what either has stays at both")


@app.command()
def unshare(
    site: SiteName,
    other: Other,
    by: By = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """SITE and OTHER do not share a storage on purpose any more: it says what that means for what both have, and
    asks."""
    db = database()
    common = shared_storage.common(db, site, other)
    if common.is_declared:
        ask(f"{site} and {other} are no longer known to share a storage? {_meaning(common)}", yes=yes)
    was_declared = shared_storage.withdraw(db, site, other, by=who(by))
    if as_json:
        print_json({"site": site, "other": other, "is_declared": False, "was_declared": was_declared})
        return
    say(f"{site} and {other} {'do not share a storage any more' if was_declared else 'were not declared'}")


def _meaning(common: shared_storage.Common) -> str:
    """What it means that nobody declares any more that two sites share their storage."""
    if common.is_found:
        return "By their endpoints they do, so nothing is deleted at either then"
    blocks = count(common.num_blocks, "block")
    return f"Both have {blocks}, {size(common.size_bytes)}: what is deleted at one is gone at both, if they do share it"
