"""What tables of both engines' plans have alike."""

from __future__ import annotations

import math

from dynamo_ops.cli.terminal.tables import Record, Records


def occupied(rows: Records) -> Records:
    """Rows of sites as they are shown: JSON has no infinity, which is the occupancy where the quota is 0."""
    return [_occupied(row) if row["quota_bytes"] == 0 else row for row in rows]


def _occupied(row: Record) -> Record:
    return {name: math.inf if field is None and "occupancy" in name else field for name, field in row.items()}
