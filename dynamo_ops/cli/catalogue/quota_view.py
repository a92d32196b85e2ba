"""Quotas, their changes and how full they are, as tables and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping

from dynamo_ops.cli.terminal.cells import size
from dynamo_ops.cli.terminal.tables import Record, Records, print_json, print_table

HEADINGS: Mapping[str, Mapping[str, str]] = {
    "usage": {
        "site": "site",
        "status": "status",
        "partition": "partition",
        "quota_bytes": "quota",
        "physical_bytes": "on disk",
        "projected_bytes": "projected",
        "physical_occupancy": "occupancy\non disk",
        "projected_occupancy": "occupancy\nprojected",
    },
    "quotas": {
        "site": "site",
        "partition": "partition",
        "quota_bytes": "quota",
        "changed_by": "by",
        "changed_at": "since",
    },
    "history": {
        "changed_at": "when",
        "site": "site",
        "partition": "partition",
        "old": "old",
        "new": "new",
        "changed_by": "by",
        "reason": "reason",
    },
    "change": {"site": "site", "partition": "partition", "old": "now", "new": "to be"},
    "groups": {"group": "group", "quota_bytes": "quota", "unique_bytes": "unique data", "free_bytes": "free"},
    "users": {"user": "user", "quota_bytes": "quota", "unique_bytes": "unique data", "free_bytes": "free"},
}
"""Columns and headings by kind of table."""


_AMOUNTS = {"old_bytes": "old", "new_bytes": "new"}
_OCCUPANCIES = {"physical_occupancy": "physical_bytes", "projected_occupancy": "projected_bytes"}


def show_rows(rows: Records, title: str, kind: str, *, as_json: bool) -> None:
    """Print ``rows`` as JSON, or as the table of this kind. ``old_bytes`` and ``new_bytes`` are quotas too."""
    if as_json:
        print_json(rows)
    else:
        print_table([_shown(row) for row in rows], title, HEADINGS[kind], wrap=["reason"])


def _shown(row: Record) -> Record:
    amounts = {shown: size(row[name]) for name, shown in _AMOUNTS.items() if name in row}
    return {**row, **amounts, **(_overfull(row) if row.get("quota_bytes") == 0 else {})}


def _overfull(row: Record) -> Record:
    """Where nothing may be there, occupancies are infinite, which JSON has no number for."""
    return {name: math.inf for name, amount in _OCCUPANCIES.items() if name in row and row[amount] is not None}
