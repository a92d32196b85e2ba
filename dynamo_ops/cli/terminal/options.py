"""Options that are spelled, explained and read in one way, whatever the command."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.base.times import moment_after, moment_before, time_text
from dynamo_ops.cli.terminal.completion import complete_groups, complete_partitions, complete_sites

if TYPE_CHECKING:
    from dynamo_ops.access.person import Person

A_TIME = "a date, a time (UTC unless it says otherwise), or"

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Site = Annotated[str | None, typer.Option("--site", help="Site name or glob.", autocompletion=complete_sites)]
Sites = Annotated[
    list[str] | None,
    typer.Option("--site", help="Site name or glob; may be given several times.", autocompletion=complete_sites),
]
NamedSites = Annotated[
    list[str],
    typer.Option("--site", help="Site name or glob; may be given several times.", autocompletion=complete_sites),
]
SiteName = Annotated[str, typer.Argument(metavar="SITE", help="Site name.", autocompletion=complete_sites)]
SiteGlob = Annotated[str, typer.Argument(metavar="SITE", help="Site name or glob.", autocompletion=complete_sites)]
AnySite = Annotated[
    str | None,
    typer.Argument(metavar="SITE", help="Site name or glob; without it all.", autocompletion=complete_sites),
]
Group = Annotated[str | None, typer.Option("--group", help="Name of a group.", autocompletion=complete_groups)]
NamedGroup = Annotated[str, typer.Option("--group", help="Name of a group.", autocompletion=complete_groups)]
Partition = Annotated[
    str | None, typer.Option("--partition", help="Name of a partition.", autocompletion=complete_partitions)
]
PartitionName = Annotated[
    str, typer.Argument(metavar="PARTITION", help="Name of a partition.", autocompletion=complete_partitions)
]
Dataset = Annotated[str | None, typer.Option("--dataset", help="Dataset name or glob.")]
By = Annotated[str | None, typer.Option("--by", help="Who; without it your login name.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept, and others will read it.")]
Until = Annotated[
    str | None, typer.Option("--until", help=f"When it ends: {A_TIME} in how long (3d); without it never by itself.")
]
From = Annotated[str | None, typer.Option("--from", help=f"When it begins: {A_TIME} in how long (3d); without it now.")]
SINCE = typer.Option("--since", help=f"How far back: {A_TIME} how long ago (3d).")
Since = Annotated[str, SINCE]
Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")]
Now = Annotated[str | None, typer.Option("--now", help=f"Decide as of then: {A_TIME} how long ago (3d).")]

InventoryFolder = Annotated[
    Path | None, typer.Option(help="Folder in the golden format to decide on, instead of the database.")
]
PartitionsFile = Annotated[Path | None, typer.Option(help="Definitions of partitions to use instead.")]
EnforcerFile = Annotated[Path | None, typer.Option(help="Enforcer rules to use instead.")]
Store = Annotated[bool, typer.Option("--store", help="Store the plan, so that it can be gated and committed.")]
PlanId = Annotated[int, typer.Argument(metavar="PLAN", help="Number of a stored plan (`dynamo plan list`).")]


def who(by: str | None) -> Person:
    """Who acts: as ``--by`` says, or the login. The audit shows that it was said in a shell."""
    from dynamo_ops.access.person import shell_person  # a call from afar has no need of it

    return shell_person(by)


def past(option: str, text: str) -> datetime:
    """The moment of an option that looks back (``--since``, ``--now``)."""
    now = datetime.now(UTC)
    try:
        moment = moment_before(text, now)
    except ValueError as error:
        raise typer.BadParameter(f"{option}: {error}") from error
    if option == "--since" and moment > now:  # --now may lie ahead: what would be decided then
        raise typer.BadParameter(f"{option}: {text!r} is {time_text(moment)}, which is still to come: it looks back")
    return moment


def past_or_none(option: str, text: str | None) -> datetime | None:
    """As ``past``; None where the option was not given."""
    return None if text is None else past(option, text)


def future(option: str, text: str | None) -> datetime | None:
    """The moment of an option that looks ahead (``--until``, ``--from``); None where it was not given."""
    if text is None:
        return None
    try:
        return moment_after(text, datetime.now(UTC))
    except ValueError as error:
        raise typer.BadParameter(f"{option}: {error}") from error
