"""``dynamo site``: which sites can be used, and downtimes of sites."""

from __future__ import annotations

import getpass
from typing import Annotated

import polars as pl
import typer

from dynamo_ops.cli.options import moment_option
from dynamo_ops.cli.output import JsonOption, database
from dynamo_ops.cli.tables import cell, count, print_json, print_table
from dynamo_ops.fileops import downtime as downtimes

app = typer.Typer(no_args_is_help=True, help="Sites: what can be used and what waits there, downtimes.")

LISTED = {
    "site": "site",
    "storage_type": "storage",
    "status": "status",
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
By = Annotated[str | None, typer.Option("--by", help="Who; without it your login name.")]


@app.command("list")
def list_(as_json: bool = JsonOption) -> None:
    """All sites: status, downtime, and the copies and deletions that wait for them or are under way."""
    found = downtimes.site_states(database())
    if as_json:
        print_json(found.to_dicts())
        return
    use = (
        pl.when("is_writable").then(pl.lit("read, written"))
        .when("is_readable").then(pl.lit("read"))
        .otherwise(pl.lit("untouched"))
    )  # fmt: skip
    print_table(found.with_columns(use=use), "Sites", LISTED, wrap=["downtime"])


@app.command()
def drain(
    site: str,
    reason: Annotated[str, typer.Option(help="Why; others will read it.")],
    begin: Annotated[str | None, typer.Option("--from", help="When it begins (ISO, UTC); without it now.")] = None,
    until: Annotated[str | None, typer.Option(help="When it ends (ISO, UTC); without it when resumed.")] = None,
    by: By = None,
    as_json: bool = JsonOption,
) -> None:
    """Put SITE into a downtime: what runs ends, nothing new is copied to or from it or deleted there."""
    made = downtimes.drain(
        database(),
        site,
        by=by or getpass.getuser(),
        reason=reason,
        begins_at=moment_option("--from", begin),
        ends_at=moment_option("--until", until),
    )
    if as_json:
        print_json(vars(made))
        return
    end = cell("ends_at", made.ends_at) if made.ends_at else f"`dynamo site resume {site}`"
    typer.echo(f"downtime {made.id} of {site}: from {cell('begins_at', made.begins_at)} until {end}")
    typer.echo("what waits for it is held by the next run of transfers, and released by itself when it is over")


@app.command()
def resume(
    site: str,
    planned: Annotated[bool, typer.Option("--planned", help="Also end downtimes that are yet to come.")] = False,
    by: By = None,
    as_json: bool = JsonOption,
) -> None:
    """End the downtimes of SITE now."""
    ended = downtimes.resume(database(), site, by=by or getpass.getuser(), planned=planned)
    if as_json:
        print_json({"site": site, "ended": ended})
    else:
        typer.echo(f"{site}: {count(len(ended), 'downtime')} ended; the next run of transfers uses it again")


@app.command()
def downtime(
    site: Annotated[str | None, typer.Argument(help="Only of this site.")] = None,
    over: Annotated[bool, typer.Option("--over", help="Also those that are over.")] = False,
    as_json: bool = JsonOption,
) -> None:
    """Downtimes that last or are to come."""
    found = downtimes.downtimes(database(), site, over=over)
    if as_json:
        print_json(found.to_dicts())
    else:
        print_table(found, "Downtimes", DOWNTIMES, wrap=["reason"])
