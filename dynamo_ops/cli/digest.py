"""``dynamo digest``: what the daily message says, in the shell."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from dynamo_ops.alerts.digest import MORNING, read_digest
from dynamo_ops.alerts.digest_text import digest_text
from dynamo_ops.base.settings import settings
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import AsJson
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import print_json

DayOption = typer.Option(
    None, "--day", formats=["%Y-%m-%d"], help="As told on the morning of this day, 06:00 UTC; without it: until now."
)


def digest(day: datetime | None = DayOption, as_json: AsJson = False) -> None:
    """What happened in 24 hours, and what needs a look: failures, gates, sources, sites, plans, copies, deletions.

    What stands (sites, subscriptions on hold, gaps) is as of now, also for an earlier day.
    """
    until = datetime.combine(day.date(), MORNING) if day else datetime.now(UTC)
    report = read_digest(database(), settings(), until)
    if as_json:
        print_json(report.document())
    else:
        say(digest_text(report))
