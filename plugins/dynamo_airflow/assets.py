"""What the DAGs hand on. An event says that the thing has changed; its extra carries ids and small figures, never
rows."""

from __future__ import annotations

from airflow.sdk import Asset

METADATA = Asset("dynamo://inventory/metadata", group="dynamo")
"""Datasets, blocks, files and sites are as their sources told."""

POPULARITY = Asset("dynamo://popularity", group="dynamo")
"""A day of accesses is in, ranks are computed anew."""

SUBSCRIPTIONS = Asset("dynamo://subscriptions", group="dynamo")
"""There are new subscriptions: files to be copied or deleted."""

REPLICAS = Asset("dynamo://inventory/replicas", group="dynamo")
"""Files have arrived or gone: replicas are as the storages have them."""


def detox_cycle(partition: str) -> Asset:
    """A Detox cycle of ``partition`` has ended (committed, or nothing to do): Dealer may look."""
    return Asset(f"dynamo://detox/{partition}", group="dynamo")
