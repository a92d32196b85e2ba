"""What holds nothing and is waited for by nobody goes: block replicas, and then dataset replicas left without any."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from dynamo_ops.inventory.replica import block_replica, dataset_replica


@dataclass(frozen=True)
class Dropped:
    """How many replicas went."""

    num_block_replicas: int = 0
    num_dataset_replicas: int = 0


def drop_empty(connection: Connection, replicas: str) -> Dropped:
    """Drop those of ``replicas`` (block_id, site_id) that are empty (``block_replica.drop_empty``), and the dataset
    replicas that lose their last block replica thereby, but for those that grow."""
    dropped = block_replica.drop_empty(connection, replicas)
    if not dropped:
        return Dropped()
    hollow = dataset_replica.drop_hollow(
        connection,
        "SELECT * FROM unnest(CAST(:datasets AS bigint[]), CAST(:sites AS smallint[])) AS gone (dataset_id, site_id)",
        {"datasets": [dataset for dataset, _, _ in dropped], "sites": [site for _, site, _ in dropped]},
    )
    return Dropped(sum(number for _, _, number in dropped), hollow)
