"""``dynamo digest``: what the daily message says, in the shell."""

from __future__ import annotations

from datetime import UTC, datetime, time

import typer

from dynamo_ops.alerts.digest import read_digest
from dynamo_ops.alerts.digest_text import digest_text
from dynamo_ops.base.settings import settings
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import AsJson
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import print_json

AT = time(6, tzinfo=UTC)
"""When the daily message goes out."""


DayOption = typer.Option(
    None, "--day", formats=["%Y-%m-%d"], help="As told on the morning of this day, 06:00 UTC; without it: until now."
)


def digest(day: datetime | None = DayOption, as_json: AsJson = False) -> None:
    """What happened in 24 hours, and what needs a look: failures, gates, sources, sites, plans, copies, deletions.

    What stands (sites, subscriptions on hold, gaps) is as of now, also for an earlier day.
    """
    until = datetime.combine(day.date(), AT) if day else datetime.now(UTC)
    report = read_digest(database(), settings(), until)
    if as_json:
        print_json(report.document())
    else:
        say(digest_text(report))
