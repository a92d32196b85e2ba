"""What tables of both engines' plans have alike."""

from __future__ import annotations

import math

from dynamo_ops.cli.terminal.tables import Record, Records

NOT_TOLD = ("kind", "planned_for_at", "etag")


def occupied(rows: Records) -> Records:
    """Rows of sites as they are shown: JSON has no infinity, which is the occupancy where the quota is 0."""
    return [_occupied(row) if row["quota_bytes"] == 0 else row for row in rows]


def _occupied(row: Record) -> Record:
    return {name: math.inf if field is None and "occupancy" in name else field for name, field in row.items()}


def told(plan: Record) -> Record:
    """What programs are told of a plan: its document without what tells it from one of the other engine, and without
    what who decides about it over REST needs."""
    return {name: field for name, field in plan.items() if name not in NOT_TOLD}
