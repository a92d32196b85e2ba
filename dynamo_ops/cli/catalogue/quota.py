"""``dynamo quota``: bytes that a partition may take at a site, and that groups and users may ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.units import quota_bytes_of
from dynamo_ops.cli.catalogue.quota_view import show_rows
from dynamo_ops.cli.terminal.cells import count, size
from dynamo_ops.cli.terminal.completion import complete_groups, complete_partitions
from dynamo_ops.cli.terminal.confirm import ask
from dynamo_ops.cli.terminal.options import AsJson, By, Reason, SiteGlob, Yes
from dynamo_ops.cli.terminal.page import say, warn
from dynamo_ops.cli.terminal.progress import step
from dynamo_ops.cli.terminal.tables import Record, print_json
from dynamo_ops.cli.terminal.way import Way

if TYPE_CHECKING:
    from dynamo_ops.cli.here import quota as quotas
else:
    quotas = Way("quota")

app = typer.Typer(no_args_is_help=True, help="Quotas: of partitions at sites, and of groups and users.")

UNKNOWN = "without a quota it is unknown how much may be there: nothing is deleted or placed, and each plan warns"
EMPTIED = "0 bytes: nothing may be there, Detox empties it of what no policy line protects"
SIZE_HELP = "Bytes, '500 TB' (10^12 bytes each), 1.2PB, or unlimited."

LeafArgument = Annotated[
    str,
    typer.Argument(
        metavar="PARTITION",
        help="Leaf partition; a union has the sum over its leaves.",
        autocompletion=complete_partitions,
    ),
]
GroupArgument = Annotated[str, typer.Argument(metavar="GROUP", help="Name of a group.", autocompletion=complete_groups)]
UserArgument = Annotated[str, typer.Argument(metavar="USER", help="Login name.")]
PartitionGlob = Annotated[
    str,
    typer.Option(
        "--partition", help="Partition name or glob; a union by its name.", autocompletion=complete_partitions
    ),
]
SizeArgument = Annotated[str, typer.Argument(metavar="SIZE", help=SIZE_HELP)]


@app.command("set", context_settings={"ignore_unknown_options": True})  # -1 is a quota, no option
def set_(
    site: SiteGlob,
    partition: LeafArgument,
    size_: SizeArgument,
    reason: Reason,
    by: By = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Set the quota of PARTITION at SITE. 0: nothing may be there; unlimited (or -1): no limit."""
    _change(site, partition, quota_bytes_of("SIZE", size_), reason, by, yes=yes, as_json=as_json)


@app.command()
def unset(
    site: SiteGlob,
    partition: LeafArgument,
    reason: Reason,
    by: By = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Take the quota of PARTITION at SITE away. It is unknown then: nothing is deleted or placed there."""
    _change(site, partition, None, reason, by, yes=yes, as_json=as_json)
    if not as_json:
        say(UNKNOWN)


@app.command(context_settings={"ignore_unknown_options": True})
def group(name: GroupArgument, size_: SizeArgument, by: By = None, as_json: AsJson = False) -> None:
    """Set how many bytes of unique data (each block once, whatever its copies) GROUP may own and ask for."""
    changed = quotas.change_of_group(name, quota_bytes_of("SIZE", size_), by=by)
    _tell_unique(f"group {name}", changed, as_json=as_json)


@app.command(context_settings={"ignore_unknown_options": True})
def user(name: UserArgument, size_: SizeArgument, by: By = None, as_json: AsJson = False) -> None:
    """Set how many bytes of unique data (each block once, whatever its copies) USER may ask for."""
    changed = quotas.change_of_user(name, quota_bytes_of("SIZE", size_), by=by)
    _tell_unique(f"user {name}", changed, as_json=as_json)


@app.command("show")
def show_(
    site: SiteGlob = "*",
    partition: PartitionGlob = "*",
    history: Annotated[bool, typer.Option("--history", help="Who changed what, when and why, newest first.")] = False,
    groups: Annotated[bool, typer.Option("--groups", help="Quotas and unique data of groups.")] = False,
    users: Annotated[bool, typer.Option("--users", help="Quotas and unique data of users.")] = False,
    usage: Annotated[bool, typer.Option("--usage/--no-usage", help="Also how much is there; reads the inventory.")] = (
        True
    ),
    as_json: AsJson = False,
) -> None:
    """Quotas and how full they are: 0 nothing may be there, unlimited, unknown (nothing is deleted or placed)."""
    if groups or users:
        _show_unique(groups=groups, users=users, as_json=as_json)
        return
    asked = [[] if pattern == "*" else [pattern] for pattern in (site, partition)]
    if history:
        show_rows(quotas.changes(*asked), "Changes of quotas", "history", as_json=as_json)
    elif usage:
        with step("reading the inventory", quiet=as_json):
            used = quotas.used(*asked)
        show_rows(used, "Quotas", "usage", as_json=as_json)
    else:
        show_rows(quotas.listed(*asked), "Quotas", "quotas", as_json=as_json)


def _show_unique(*, groups: bool, users: bool, as_json: bool) -> None:
    if groups and users and as_json:
        raise InventoryError("--json shows one table: name --groups or --users")
    if groups:
        show_rows(quotas.of_groups(), "Unique data of groups", "groups", as_json=as_json)
    if users:
        show_rows(quotas.of_users(), "Unique data of users", "users", as_json=as_json)


def _tell_unique(whose: str, changed: Record, *, as_json: bool) -> None:
    if as_json:
        print_json(changed)
    else:
        say(f"{whose}: {size(changed['quota_bytes'])} of unique data")


def _change(
    site: str, partition: str, amount: int | None, reason: str, by: str | None, *, yes: bool, as_json: bool
) -> None:
    sites = [site] if yes else _asked(site, partition, amount, reason, by, as_json=as_json)
    changed = quotas.change(sites, partition, amount, reason=reason, by=by)
    if amount == 0:
        warn(EMPTIED)
    if as_json:
        print_json(changed)
        return
    names, number = changed["sites"], changed["num_changed"]
    where = ", ".join(names) if len(names) <= 3 else count(len(names), "site")
    left = "" if number == len(names) else f" ({number or 'none'} of {len(names)} changed: it was so already)"
    say(f"{partition} at {where}: {size(amount)}{left}")


def _asked(site: str, partition: str, amount: int | None, reason: str, by: str | None, *, as_json: bool) -> list[str]:
    """The sites to change. A person is asked first, and may say no, where a glob names several, or where a quota gets
    smaller: Detox deletes what is above it."""
    wanted = quotas.would_change(site, partition, amount, reason=reason, by=by)
    is_smaller = any(_is_smaller(amount, change["old_bytes"]) for change in wanted)
    if len(wanted) > 1 or is_smaller:
        if not as_json:
            show_rows(wanted, "To be changed", "change", as_json=False)
        above = " Detox deletes what is above it" if is_smaller else ""
        ask(f"Change the quota of {partition} at {count(len(wanted), 'site')}?{above}", yes=False)
    return [change["site"] for change in wanted]


def _is_smaller(new: int | None, old: int | None) -> bool:
    """Whether a quota of ``new`` bytes lets Detox delete more than one of ``old`` bytes: of an unknown one (None) 0
    does, since a size is what an installation begins with."""
    if new is None or new < 0:
        return False
    return (new == 0) if old is None else old < 0 or new < old
