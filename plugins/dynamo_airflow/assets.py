"""What the DAGs hand on. An event says that the thing has changed; its extra carries ids and small figures, never
rows."""

from __future__ import annotations

from airflow.sdk import Asset, AssetAlias

METADATA = Asset("dynamo://inventory/metadata", group="dynamo")
"""Datasets, blocks, files and sites are as their sources told."""

POPULARITY = Asset("dynamo://popularity", group="dynamo")
"""A day of accesses is in, ranks are computed anew."""

SUBSCRIPTIONS = Asset("dynamo://subscriptions", group="dynamo")
"""There are new subscriptions: files to be copied or deleted."""

COPIES_WAIT = Asset("dynamo://subscriptions/copies", group="dynamo")
"""There are copies that can be made now: the look has seen them."""

DELETIONS_WAIT = Asset("dynamo://subscriptions/deletions", group="dynamo")
"""There are deletions that can be made now."""

SEEN_COPIES, SEEN_DELETIONS = AssetAlias("dynamo-copies-seen"), AssetAlias("dynamo-deletions-seen")
MADE_SUBSCRIPTIONS = AssetAlias("dynamo-subscriptions-made")
"""By which the look tells of the two, and commits tell of subscriptions, or not: an outlet that is an asset itself gets
an event from every task that succeeds, also from one that found nothing."""

REPLICAS = Asset("dynamo://inventory/replicas", group="dynamo")
"""Files have arrived or gone: replicas are as the storages have them."""


def detox_cycle(partition: str) -> Asset:
    """A Detox cycle of ``partition`` has ended (committed, or nothing to do): Dealer may look."""
    return Asset(f"dynamo://detox/{partition}", group="dynamo")
