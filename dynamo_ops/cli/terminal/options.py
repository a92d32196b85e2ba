"""Options that several commands read in the same way."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

InventoryFolder = Annotated[
    Path | None, typer.Option(help="Folder in the golden format to decide on, instead of the database.")
]
PartitionsFile = Annotated[Path | None, typer.Option(help="Definitions of partitions to use instead.")]
EnforcerFile = Annotated[Path | None, typer.Option(help="Enforcer rules to use instead.")]
Now = Annotated[str | None, typer.Option(help="Decide as of this time (ISO, UTC unless it says otherwise).")]
Store = Annotated[bool, typer.Option("--store", help="Store the plan, so that it can be gated and committed.")]
PlanId = Annotated[int, typer.Argument(help="Number of a stored plan (`dynamo plan list`).")]


def moment_option(name: str, text: str | None) -> datetime | None:
    """A time in ISO form, UTC unless it says otherwise; None where it was not given."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{name} {text}: expected a time such as 2026-03-01T12:00") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
