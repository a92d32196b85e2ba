"""Quotas, their changes and how full they are, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from dynamo_ops.cli.terminal.cells import size
from dynamo_ops.cli.terminal.tables import print_json, print_table
from dynamo_ops.detox.report.describe import json_rows

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


def show_frame(frame: pl.DataFrame, title: str, kind: str, *, as_json: bool) -> None:
    """Print ``frame`` as JSON, or as the table of this kind. ``old_bytes`` and ``new_bytes`` are quotas too."""
    if as_json:
        print_json(json_rows(frame))
        return
    shown = frame.with_columns(
        pl.col(name).map_elements(size, return_dtype=pl.String, skip_nulls=False).alias(name.removesuffix("_bytes"))
        for name in ("old_bytes", "new_bytes")
        if name in frame.columns
    )
    print_table(shown, title, HEADINGS[kind], wrap=["reason"])
