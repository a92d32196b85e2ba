"""``dynamo usage``: how much there is, by what is asked for, now or day by day."""

from __future__ import annotations

from typing import Annotated

import typer

from dynamo_ops.cli.terminal.completion import complete_groups
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import SINCE, AsJson, Sites, past
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import print_json, print_table
from dynamo_ops.query.usage import BY_DAY, NOW, usage_by_day, usage_now

Owners = Annotated[
    list[str] | None,
    typer.Option(
        "--group",
        help="Name of a group, or a glob; none: what nobody owns. May be given several times.",
        autocompletion=complete_groups,
    ),
]
FIGURES = {
    "num_blocks": "block\nreplicas",
    "num_complete": "complete",
    "size_bytes": "on disk",
    "projected_bytes": "projected",
}


def usage(
    by: Annotated[
        list[str] | None,
        typer.Argument(metavar="[BY]...", help=f"{', '.join(NOW)} (none: site); with --since {', '.join(BY_DAY)}."),
    ] = None,
    since: Annotated[str | None, SINCE] = None,
    sites: Sites = None,
    groups: Owners = None,
    as_json: AsJson = False,
) -> None:
    """How much there is: by site, group, status, tier; by day. `dynamo usage site group --since 30d`."""
    dimensions = by or ["site"]
    narrowed = {"sites": sites or (), "groups": groups or ()}
    if since is None:
        sums = usage_now(database(), dimensions, **narrowed)
    else:
        sums = usage_by_day(database(), past("--since", since).date(), dimensions, **narrowed)
    if as_json:
        print_json(sums.to_dicts())
        return
    headings = {name: name for name in sums.columns if name not in FIGURES}
    print_table(sums, "Usage", {**headings, **FIGURES})
    if since is not None and sums.is_empty():
        say("no day is recorded in that time: housekeeping records one each night")
