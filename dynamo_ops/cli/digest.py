"""``dynamo digest``: what the daily message says, in the shell."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import typer

from dynamo_ops.cli.terminal.options import AsJson
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import print_json
from dynamo_ops.cli.terminal.way import Way

if TYPE_CHECKING:
    from dynamo_ops.cli.here import record
else:
    record = Way("record")

DayOption = typer.Option(
    None, "--day", formats=["%Y-%m-%d"], help="As told on the morning of this day, 06:00 UTC; without it: until now."
)


def digest(day: datetime | None = DayOption, as_json: AsJson = False) -> None:
    """What happened in 24 hours, and what needs a look: failures, gates, sources, sites, plans, copies, deletions.

    What stands (sites, subscriptions on hold, gaps) is as of now, also for an earlier day.
    """
    morning = day.date() if day else None
    if as_json:
        print_json(record.digest(morning))
    else:
        say(record.told(morning))
