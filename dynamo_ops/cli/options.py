"""Options that several commands read in the same way."""

from __future__ import annotations

from datetime import UTC, datetime

import typer


def moment_option(name: str, text: str | None) -> datetime | None:
    """A time in ISO form, UTC unless it says otherwise; None where it was not given."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{name} {text}: expected a time such as 2026-03-01T12:00") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
