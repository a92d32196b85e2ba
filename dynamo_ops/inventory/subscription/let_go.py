"""Block replicas are let go: what a Detox commit and a deletion request both do with what they delete."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from dynamo_ops.inventory.replica import block_replica, dataset_replica
from dynamo_ops.inventory.replica.empty import drop_empty
from dynamo_ops.inventory.states import SubscriptionAction
from dynamo_ops.inventory.subscription.subscribe import subscribe_blocks


@dataclass(frozen=True)
class LetGo:
    """``num_files``: deletions subscribed; ``num_dataset_replicas``: of which nothing that is owned stays."""

    num_files: int
    num_dataset_replicas: int


def let_go(
    connection: Connection, replicas: str, *, origin: str, plan_id: int | None = None, last_allowed: str = "false"
) -> LetGo:
    """The block replicas of the table ``replicas`` (block_id, dataset_id, site_id; a SELECT in brackets will do) belong
    to nobody, and deletions of their files are subscribed; the storages are asked later. ``last_allowed``: SQL of a row
    of ``replicas``, called let_go: the last copies of its files may go too (SEMANTICS §10).

    A dataset replica of which nothing that is owned stays gets no new blocks any more (SEMANTICS §3.5). What held no
    file yet goes now: nothing is to be asked of the storage.
    """
    pairs = f"SELECT block_id, site_id FROM {replicas} AS let_go"
    block_replica.condemn(connection, pairs)
    num_files = 0
    for is_allowed, which in ((False, f"({last_allowed}) IS NOT TRUE"), (True, f"({last_allowed}) IS TRUE")):
        subscribed = subscribe_blocks(
            connection,
            SubscriptionAction.DELETE,
            f"{pairs} WHERE {which}",
            origin=origin,
            plan_id=plan_id,
            is_last_allowed=is_allowed,
        )
        num_files += subscribed.num_created
    stopped = dataset_replica.stop_growing(
        connection,
        f"""SELECT DISTINCT dataset_id, site_id FROM {replicas} AS let_go WHERE NOT EXISTS (
                SELECT FROM block_replicas AS owned WHERE owned.dataset_id = let_go.dataset_id
                    AND owned.site_id = let_go.site_id AND owned.group_id IS NOT NULL)""",
        for_deletion=True,
    )
    drop_empty(connection, pairs)
    return LetGo(num_files, stopped)
