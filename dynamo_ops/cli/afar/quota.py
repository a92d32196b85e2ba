"""Quotas over REST."""

from __future__ import annotations

from dynamo_ops.cli.afar.server import whole


def partitions() -> list[str]:
    """Names of partitions, for a shell that completes them."""
    return [row["name"] for row in whole("/names/partitions")]
