"""``dynamo usage``: how much there is, by what is asked for, now or day by day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.cli.terminal.completion import complete_groups
from dynamo_ops.cli.terminal.options import SINCE, AsJson, Sites, past_or_none
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import print_json, print_table
from dynamo_ops.cli.terminal.way import Way

if TYPE_CHECKING:
    from dynamo_ops.cli.here import group as amounts
else:
    amounts = Way("group")

NOW, BY_DAY = ("site", "group", "status", "tier", "release", "idle"), ("site", "group", "status", "tier")
"""What usage can be summed by: as ``query.usage`` has it."""
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
    begin = past_or_none("--since", since)
    sums = amounts.usage(by or ["site"], since=begin and begin.date(), sites=sites or (), groups=groups or ())
    if as_json:
        print_json(sums)
        return
    dimensions = {name: name for name in (sums[0] if sums else ()) if name not in FIGURES}
    print_table(sums, "Usage", {**dimensions, **FIGURES})
    if since is not None and not sums:
        say("no day is recorded in that time: housekeeping records one each night")
