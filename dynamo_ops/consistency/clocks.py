"""Clocks that must agree before a file goes because of its age: the database's, this machine's, the storage's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dynamo_ops.database.connection import Database


@dataclass(frozen=True)
class Clocks:
    """What a list says of its time. ``ended_at``: of the listing, by the clock of ``listed_at``. ``fault``: a sentence
    when clocks differed; else None."""

    ended_at: datetime | None = None
    fault: str | None = None


NO_CLOCKS = Clocks()


def database_clock(db: Database) -> datetime:
    """The time by which checks are ordered and ages told, whatever machine works on them."""
    return db.clock()


def clock_fault(ours: datetime, others: Mapping[str, datetime | None], tolerance: timedelta) -> str | None:
    """A sentence when one of ``others`` (by name; None: it cannot be told) is off by more than ``tolerance``."""
    for name, clock in others.items():
        if clock is not None and abs(clock - ours) > tolerance:
            return (
                f"the clock of {name} shows {_shown(clock)}, the database's {_shown(ours)}: ages of files cannot be "
                f"told (clock_tolerance is {tolerance})"
            )
    return None


def future_fault(lfn: str, modified_at: datetime) -> str:
    """The sentence for a file that was changed later than its listing ended."""
    return f"{lfn} was changed at {_shown(modified_at)}, which is still to come: the clock of the storage is ahead"


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
