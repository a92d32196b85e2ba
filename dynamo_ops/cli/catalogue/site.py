"""``dynamo site``: which sites can be used, their status by hand, and downtimes of sites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.base.units import size_text
from dynamo_ops.cli.catalogue import site_view
from dynamo_ops.cli.terminal.cells import cell, count, size
from dynamo_ops.cli.terminal.completion import complete_sites
from dynamo_ops.cli.terminal.confirm import ask
from dynamo_ops.cli.terminal.lists import AtMost, Fields, Format, print_list
from dynamo_ops.cli.terminal.options import AnySite, AsJson, By, Dataset, From, Reason, SiteName, Until, Yes, future
from dynamo_ops.cli.terminal.page import say, warn
from dynamo_ops.cli.terminal.tables import Record, print_json, print_table
from dynamo_ops.cli.terminal.way import Way

if TYPE_CHECKING:
    from dynamo_ops.cli.here import site as sites
else:
    sites = Way("site")

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
    states = sites.listed()
    if as_json:
        print_json(states)
        return
    told = [{**state, "use": site_view.use(state), "because": site_view.because(state)} for state in states]
    print_table(told, "Sites", LISTED, wrap=["because", "downtime"])


@app.command()
def show(site: SiteName, as_json: AsJson = False) -> None:
    """All about SITE: status and why, what waits, how full it is, whose data it holds, its last check."""
    card = sites.card(site)
    if as_json:
        print_json(card)
    else:
        site_view.print_card(card)


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
    print_list(
        sites.only_here(site, [dataset] if dataset else []), f"Last copies at {site}", site_view.ONLY_HERE,
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
    override = sites.set_status(site, status, until=future("--until", until), reason=reason, by=by)
    if as_json:
        print_json(override)
        return
    for warning in override["warnings"]:
        warn(warning)
    end = f"until {cell('ends_at', override['ends_at'])}" if override["ends_at"] else _until_unset(site)
    say(f"{site} is {status} (was {override['status_before']}), {end}")


@app.command()
def unset(site: SiteName, by: By = None, as_json: AsJson = False) -> None:
    """Let SITE have the status again that its source tells."""
    now = sites.unset_status(site, by=by)
    if as_json:
        print_json(now)
    else:
        say(f"{site} is {now['status']}: what its source tells counts again")


@app.command()
def evacuate(site: SiteName, reason: Reason, by: By = None, as_json: AsJson = False) -> None:
    """Give SITE up: morgue, and quotas of 0; what only it has is copied away."""
    done = sites.evacuate(site, reason=reason, by=by)
    left = sites.only_here_in_figures(site)
    if as_json:
        print_json({**done, "only_here": left})
        return
    for warning in done["warnings"]:
        warn(warning)
    say(f"{site} is {done['status']} (was {done['status_before']}), {_until_unset(site)}")
    for quota in done["quotas"]:
        say(f"quota of {quota['partition']} there: 0 (was {cell('quota_bytes', quota['old_bytes'])})")
    say(
        f"only there: {count(left['num_files'], 'file')} of {count(left['num_blocks'], 'block')}, "
        f"{size_text(left['size_bytes'])}; files of {count(left['num_blocks_coming'], 'block')} are to be copied to "
        "other sites. Dealer cycles ask for the others, where a partition has the undertaker; "
        f"`dynamo site only-here {site}` lists them"
    )


def _until_unset(site: str) -> str:
    return f"until `dynamo site unset {site}`"


@app.command()
def overrides(
    site: AnySite = None,
    over: Annotated[bool, typer.Option("--over", help="Also those that are over.")] = False,
    as_json: AsJson = False,
) -> None:
    """Statuses that people gave to sites, newest first."""
    statuses = sites.overrides(site, over=over)
    if as_json:
        print_json(statuses)
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
    made = sites.drain(site, begin=future("--from", begin), until=future("--until", until), reason=reason, by=by)
    if as_json:
        print_json(made)
        return
    end = cell("ends_at", made["ends_at"]) if made["ends_at"] else f"`dynamo site resume {site}`"
    say(f"downtime {made['id']} of {site}: from {cell('begins_at', made['begins_at'])} until {end}")
    say("what waits for it is held by the next run of transfers, and released by itself when it is over")


@app.command()
def resume(
    site: SiteName,
    planned: Annotated[bool, typer.Option("--planned", help="Also end downtimes that are yet to come.")] = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """End the downtimes of SITE now."""
    resumed = sites.resume(site, planned=planned, by=by)
    if as_json:
        print_json(resumed)
    else:
        say(f"{site}: {count(len(resumed['ended']), 'downtime')} ended; the next run of transfers uses it again")


@app.command()
def downtime(
    site: AnySite = None,
    over: Annotated[bool, typer.Option("--over", help="Also those that are over.")] = False,
    as_json: AsJson = False,
) -> None:
    """Downtimes that last or are to come."""
    listed = sites.downtimes(site, over=over)
    if as_json:
        print_json(listed)
    else:
        print_table(listed, "Downtimes", DOWNTIMES, wrap=["reason"])


@app.command()
def shared(as_json: AsJson = False) -> None:
    """Sites that are one storage under two names, by their endpoints or as declared. Where nobody declared it, nothing
    is deleted at either."""
    pairs = sites.shared()
    if as_json:
        print_json(pairs)
        return
    print_table(pairs, "Sites that share a storage", SHARED, wrap=["reason"])


@app.command()
def mappings(as_json: AsJson = False) -> None:
    """Mappings that cannot be shown to be one-to-one, and why: nothing is deleted there."""
    doubtful = sites.mappings()
    if as_json:
        print_json(doubtful)
        return
    print_table(doubtful, "Mappings that may give two files one name", MAPPINGS, wrap=["because"])


@app.command()
def accept(site: SiteName, yes: Yes = False, as_json: AsJson = False) -> None:
    """What the source of SITE reports is right: files are there now, whatever is under way. It shows the endpoints, and
    asks. See `dynamo digest`."""
    endpoints = sites.proposed(site)
    if not as_json:
        print_table(endpoints, f"Endpoints of {site}", PROPOSED, wrap=["prefix", "proposed_prefix"])
    ask(f"Look for the files of {site} there from now on? What is not there counts as gone", yes=yes)
    accepted = sites.accept(site)
    if as_json:
        print_json(accepted)
    else:
        say(f"{site}: {count(accepted['num_endpoints'], 'endpoint')} as its source reports")


@app.command()
def share(
    site: SiteName,
    other: Other,
    reason: Reason,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """SITE and OTHER share a storage on purpose: a file goes at neither while the other has it."""
    sites.share(site, other, reason=reason, by=by)
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
    common = sites.in_common(site, other)
    if common["is_declared"]:
        ask(f"{site} and {other} are no longer known to share a storage? {_meaning(common)}", yes=yes)
    was_declared = sites.unshare(site, other, by=by)
    if as_json:
        print_json({"site": site, "other": other, "is_declared": False, "was_declared": was_declared})
        return
    say(f"{site} and {other} {'do not share a storage any more' if was_declared else 'were not declared'}")


def _meaning(common: Record) -> str:
    """What it means that nobody declares any more that two sites share their storage."""
    if common["is_found"]:
        return "By their endpoints they do, so nothing is deleted at either then"
    blocks, amount = count(common["num_blocks"], "block"), size(common["size_bytes"])
    return f"Both have {blocks}, {amount}: what is deleted at one is gone at both, if they do share it"
