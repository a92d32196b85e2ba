"""``dynamo quota``: bytes that a partition may take at a site, and that groups and users may ask for."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated

import polars as pl
import typer

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.glob import glob_matches, is_glob
from dynamo_ops.base.settings import settings
from dynamo_ops.base.text import near
from dynamo_ops.cli.catalogue.quota_view import show_frame
from dynamo_ops.cli.terminal.cells import count, size
from dynamo_ops.cli.terminal.completion import complete_groups, complete_partitions
from dynamo_ops.cli.terminal.confirm import ask
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import AsJson, By, Reason, SiteGlob, Yes, who
from dynamo_ops.cli.terminal.page import say, warn
from dynamo_ops.cli.terminal.progress import step
from dynamo_ops.cli.terminal.tables import print_json
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.replica.read import read_inventory
from dynamo_ops.inventory.site import quota
from dynamo_ops.inventory.site.lookup import all_sites, find_sites
from dynamo_ops.policy.files import read_partitions
from dynamo_ops.policy.usage import partition_usage

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
    amount = quota.quota_bytes_of("SIZE", size_)
    db = database()
    sites = _asked(db, site, partition, amount, yes=yes, as_json=as_json)
    if amount == 0:
        warn(EMPTIED)
    _change(db, sites, partition, amount, reason, by, as_json=as_json)


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
    db = database()
    sites = _asked(db, site, partition, None, yes=yes, as_json=as_json)
    _change(db, sites, partition, None, reason, by, as_json=as_json)
    if not as_json:
        say(UNKNOWN)


@app.command(context_settings={"ignore_unknown_options": True})
def group(name: GroupArgument, size_: SizeArgument, by: By = None, as_json: AsJson = False) -> None:
    """Set how many bytes of unique data (each block once, whatever its copies) GROUP may own and ask for."""
    from dynamo_ops.request import unique_quota

    amount = quota.quota_bytes_of("SIZE", size_)
    unique_quota.set_group_quota(database(), name, amount, by=who(by))
    _tell_unique("group", name, amount, as_json=as_json)


@app.command(context_settings={"ignore_unknown_options": True})
def user(name: UserArgument, size_: SizeArgument, by: By = None, as_json: AsJson = False) -> None:
    """Set how many bytes of unique data (each block once, whatever its copies) USER may ask for."""
    from dynamo_ops.request import unique_quota

    amount = quota.quota_bytes_of("SIZE", size_)
    unique_quota.set_user_quota(database(), name, amount, by=who(by))
    _tell_unique("user", name, amount, as_json=as_json)


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
    db = database()
    if groups or users:
        _show_unique(db, groups=groups, users=users, as_json=as_json)
        return
    _known_sites(db, site)
    _known_partition(db, partition)
    if history:
        changes = quota.quota_history(db)
        show_frame(_matching(changes, site, partition), "Changes of quotas", "history", as_json=as_json)
        return
    quotas = _quotas(db, partition, with_usage=usage, quiet=as_json)
    kind = "usage" if usage else "quotas"
    show_frame(_matching(quotas, site, partition), "Quotas", kind, as_json=as_json)


def _show_unique(db: Database, *, groups: bool, users: bool, as_json: bool) -> None:
    from dynamo_ops.request import unique_quota

    if groups and users and as_json:
        raise InventoryError("--json shows one table: name --groups or --users")
    if groups:
        show_frame(unique_quota.group_usage(db), "Unique data of groups", "groups", as_json=as_json)
    if users:
        show_frame(unique_quota.user_usage(db), "Unique data of users", "users", as_json=as_json)


def _asked(db: Database, site: str, partition: str, amount: int | None, *, yes: bool, as_json: bool) -> list[str]:
    """The sites to change. A person is asked first, and may say no, where a glob names several, or where a quota gets
    smaller: Detox deletes what is above it."""
    read_partitions(settings(), datetime.now(UTC)).check_leaf(partition)
    sites = _known_sites(db, site)
    if yes:
        return sites
    wanted = pl.DataFrame({"site": sites}).join(
        quota.read_quotas(db).filter(pl.col("partition") == partition), on="site", how="left"
    )
    is_smaller = any(_is_smaller(amount, old) for old in wanted["quota_bytes"])
    if len(sites) > 1 or is_smaller:
        new = pl.lit(amount, dtype=pl.Int64)
        shown = wanted.select("site", partition=pl.lit(partition), old_bytes="quota_bytes", new_bytes=new)
        if not as_json:
            show_frame(shown, "To be changed", "change", as_json=False)
        above = " Detox deletes what is above it" if is_smaller else ""
        ask(f"Change the quota of {partition} at {count(len(sites), 'site')}?{above}", yes=False)
    return sites


def _is_smaller(new: int | None, old: int | None) -> bool:
    """Whether a quota of ``new`` bytes lets Detox delete more than one of ``old`` bytes: of an unknown one (None) 0
    does, since a size is what an installation begins with."""
    if new is None or new < 0:
        return False
    return (new == 0) if old is None else old < 0 or new < old


def _tell_unique(kind: str, name: str, amount: int, *, as_json: bool) -> None:
    if as_json:
        print_json({kind: name, "quota_bytes": amount})
    else:
        say(f"{kind} {name}: {size(amount)} of unique data")


def _change(
    db: Database,
    sites: Collection[str],
    partition: str,
    amount: int | None,
    reason: str,
    by: str | None,
    *,
    as_json: bool,
) -> None:
    changed = quota.set_quotas(db, sites, partition, amount, by=who(by), reason=reason)
    if as_json:
        print_json({"partition": partition, "sites": list(sites), "quota_bytes": amount, "num_changed": changed})
        return
    where = ", ".join(sites) if len(sites) <= 3 else count(len(sites), "site")
    left = "" if changed == len(sites) else f" ({changed or 'none'} of {len(sites)} changed: it was so already)"
    say(f"{partition} at {where}: {size(amount)}{left}")


def _known_sites(db: Database, site: str) -> list[str]:
    """Names of the sites that match, in order. InventoryError with near names where there is none."""
    with db.begin() as connection:
        matches = all_sites(connection) if site == "*" else find_sites(connection, [site])
    return [match.name for match in matches]


def _known_partition(db: Database, partition: str) -> None:
    """InventoryError with near names where neither the definitions nor the quotas know such a partition."""
    defined = read_partitions(settings(), datetime.now(UTC))
    partition_names = sorted({*defined.conditions, *defined.unions, *quota.named_partitions(db)})
    if not any(glob_matches(name, partition) for name in partition_names):
        problem = f"no partition matches {partition!r}" if is_glob(partition) else f"unknown partition {partition!r}"
        raise InventoryError(
            f"{problem}; known: {', '.join(partition_names)}.{near(partition, partition_names)}", partition=partition
        )


def _quotas(db: Database, partition: str, *, with_usage: bool, quiet: bool) -> pl.DataFrame:
    """Quotas of sites and leaf partitions, or of the union that is named, with usage; rows of neither are left out."""
    stored = quota.read_quotas(db)
    if not with_usage:
        return stored
    partitions = read_partitions(settings(), datetime.now(UTC))
    with step("reading the inventory", quiet=quiet):
        frames = read_inventory(db)
    names = [name for name in partitions.conditions if glob_matches(name, partition)]
    names += [partition] if partition in partitions.unions else []
    used = partition_usage(frames, partitions, names).filter(
        pl.col("quota_bytes").is_not_null() | (pl.col("projected_bytes") > 0)
    )
    gone = stored.filter(~pl.col("partition").is_in(list(partitions.conditions)))
    last_changes = stored.select("site", "partition", "changed_by", "changed_at")
    return pl.concat([used.join(last_changes, on=["site", "partition"], how="left"), gone], how="diagonal").sort(
        "site", "partition"
    )


def _matching(frame: pl.DataFrame, site: str, partition: str) -> pl.DataFrame:
    names = frame.select("site", "partition").unique()
    sites = [name for name in names["site"].unique() if glob_matches(name, site)]
    partitions = [name for name in names["partition"].unique() if glob_matches(name, partition)]
    return frame.filter(pl.col("site").is_in(sites) & pl.col("partition").is_in(partitions))
