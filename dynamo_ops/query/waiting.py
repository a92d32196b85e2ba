"""Why the parts of a request wait: of each item at each site, one subscription speaks for those that wait with it."""

from __future__ import annotations

import polars as pl

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.states import ACTIVE, SubscriptionAction, SubscriptionState
from dynamo_ops.query.explanation import DEFAULT_RULES, QueueRules, why
from dynamo_ops.request.registry import RequestDetails
from dynamo_ops.request.states import ActionState, RequestKind

MOST_EXPLAINED = 50
"""Parts of one request that are explained: each takes some queries."""
WAITING = f"""
    SELECT subscription.id FROM subscriptions AS subscription
    JOIN files AS file ON file.id = subscription.file_id JOIN blocks AS block ON block.id = file.block_id
    JOIN datasets AS dataset ON dataset.id = block.dataset_id JOIN sites AS site ON site.id = subscription.site_id
    WHERE dataset.name = $1 AND ($2::text IS NULL OR block.name = $2) AND site.name = $3
      AND subscription.action = $4 AND subscription.state IN {ACTIVE}
    ORDER BY subscription.state = '{SubscriptionState.HELD}' DESC,
             subscription.state = '{SubscriptionState.RETRY}' DESC, subscription.id LIMIT 1"""
"""What needs a hand first: held, then what failed, then the longest in the queue."""
NOT_SUBSCRIBED = "none of its files is subscribed any more; the next run of transfers looks at it"


def with_waits(database: Database, details: RequestDetails, rules: QueueRules = DEFAULT_RULES) -> pl.DataFrame:
    """The actions of a request with ``subscription_id`` and ``waits``: why it is not done yet, in the words of
    `transfers why`; null where nothing waits, and beyond ``MOST_EXPLAINED``."""
    is_copy = details.request["kind"] == RequestKind.COPY
    action = SubscriptionAction.COPY if is_copy else SubscriptionAction.DELETE
    subscription_ids: list[int | None] = []
    waits: list[str | None] = []
    for part in details.actions.iter_rows(named=True):
        is_waiting = part["state"] == ActionState.QUEUED and part["num_files_done"] < part["num_files"]
        if not is_waiting or sum(text is not None for text in waits) >= MOST_EXPLAINED:
            subscription_ids.append(None)
            waits.append(None)
            continue
        dataset, _, block = part["item"].partition("#")
        waiting = database.frame(WAITING, (dataset, block or None, part["site"], str(action)))["id"].to_list()
        subscription_ids.append(int(waiting[0]) if waiting else None)
        waits.append(why(database, int(waiting[0]), rules).because if waiting else NOT_SUBSCRIBED)
    return details.actions.with_columns(
        subscription_id=pl.Series(subscription_ids, dtype=pl.Int64), waits=pl.Series(waits, dtype=pl.String)
    )
