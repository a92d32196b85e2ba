"""Quotas of the database."""

from __future__ import annotations

from dynamo_ops.base.settings import settings
from dynamo_ops.database.connect import running
from dynamo_ops.query.names import partition_names


def partitions() -> list[str]:
    """Names of partitions, for a shell that completes them."""
    return partition_names(running(settings()), settings())
