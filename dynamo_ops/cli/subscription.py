"""``dynamo transfers``: how the wishes for copies and deletions stand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import typer

from dynamo_ops.cli.output import JsonOption, database, show
from dynamo_ops.fileops import status as fileops_status

app = typer.Typer(no_args_is_help=True, help="Copies and deletions under way.")


@app.command()
def status(
    hours: int = typer.Option(24, help="How far back to look for ended attempts."), as_json: bool = JsonOption
) -> None:
    """Files and bytes by state, and the attempts that ended lately."""
    found = database()
    show(fileops_status.counts(found), title="Active wishes", as_json=as_json)
    since = datetime.now(UTC) - timedelta(hours=hours)
    show(fileops_status.ended(found, since), title=f"Ended in the last {hours} h", as_json=as_json)
