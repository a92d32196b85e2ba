"""A request is taken back: what was subscribed for it alone is withdrawn, what is there already stays."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from dynamo_ops.access.actions import Action, Target
from dynamo_ops.access.audit import acting
from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import InventoryError, UnknownNameError
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.event.kinds import EventKind
from dynamo_ops.event.writer import tell
from dynamo_ops.inventory.names import EVER_KNOWN_DATASETS
from dynamo_ops.inventory.replica import block_replica, dataset_replica
from dynamo_ops.inventory.replica.empty import drop_empty
from dynamo_ops.inventory.request_event import event_rows
from dynamo_ops.inventory.states import ACTIVE, SubscriptionAction, SubscriptionEvent, SubscriptionState
from dynamo_ops.inventory.states import sources_of as subscription_sources
from dynamo_ops.request.states import (
    OPEN_REQUESTS,
    REQUEST_MOVES,
    ActionState,
    RequestEvent,
    RequestKind,
    RequestState,
    next_state,
)

WITHDRAWABLE = subscription_sources(SubscriptionEvent.WITHDRAWN)


@dataclass(frozen=True)
class CancelSummary:
    """What became of a cancelled request. ``num_subscriptions``: file subscriptions withdrawn; ``num_kept``: actions
    whose copies go on, since somebody else asks for them too; ``num_given_back``: block replicas that have their owner
    again; ``num_unowned``: incomplete block replicas that nothing completes now, Detox cleans up; ``num_removed``:
    those that had no file yet; ``num_too_late``: files whose deletion the storage has been asked for already.
    """

    kind: str
    num_subscriptions: int
    num_kept: int
    num_given_back: int
    num_unowned: int
    num_removed: int
    num_too_late: int = 0


def cancel(database: Database, request_id: int, *, by: Person, reason: str) -> CancelSummary:
    """Take back an open request. Raises AccessError; InventoryError when it is closed, unknown, or no reason is given.

    Copies: subscriptions for the blocks of its unfinished actions are withdrawn, unless another open request or another
    Dealer plan asks for them too. What is complete stays, with its owner; incomplete block replicas that lose their
    last subscription go to the null group, so that nothing fills them up again, and are cleaned up as all that nobody
    owns (those without a file vanish at once). Deletions: the subscriptions not done yet are withdrawn, and what is
    left of the block replicas gets its group, and its growth, back; files that are gone already are copied again.
    """
    if not reason.strip():
        raise InventoryError(f"request {request_id}: say why it is cancelled (reason is empty)", request_id=request_id)
    with acting(database, by, Action.CANCEL_REQUEST, f"request {request_id}", reason.strip()) as act:
        connection = act.connection
        act.ids.append(request_id)
        _lock_replicas(connection, request_id)
        hold(connection, Lock.REQUESTS)
        act.check(_whose(connection, request_id))
        kind = _close(connection, request_id, by.name, reason.strip())
        _load(connection, request_id)
        summary = _withdraw_copies(connection) if kind == RequestKind.COPY else _give_back(connection, request_id)
        tell(
            connection,
            EventKind.REQUEST_CANCELLED,
            event_rows("(SELECT * FROM requests WHERE id = :id)"),
            {"id": request_id},
        )
        return summary


def _whose(connection: Connection, request_id: int) -> Target:
    """Who asked for what, where, and for which group. InventoryError: there is no such request."""
    request = connection.execute(
        text(f"""
        SELECT request.requested_by, request.sites, owner.name AS "group", ARRAY(
            SELECT DISTINCT dataset.name FROM request_items AS item
            JOIN {EVER_KNOWN_DATASETS} AS dataset ON dataset.id = item.dataset_id
            WHERE item.request_id = request.id) AS datasets
        FROM requests AS request LEFT JOIN groups AS owner ON owner.id = request.group_id WHERE request.id = :id"""),
        {"id": request_id},
    ).one_or_none()
    if request is None:
        raise UnknownNameError(f"there is no request {request_id}", request_id=request_id)
    return Target(
        datasets=tuple(request.datasets),
        sites=tuple(request.sites),
        owner=request.requested_by,
        groups=tuple(filter(None, (request.group,))),
    )


def _lock_replicas(connection: Connection, request_id: int) -> None:
    """Rows of replicas before the registry, as everywhere, so that nobody waits in a circle."""
    connection.execute(
        text(f"""
        SELECT count(*) FROM (
            SELECT 1 FROM block_replicas r JOIN request_actions a USING (dataset_id, site_id)
            WHERE a.request_id = :id AND a.state = '{ActionState.QUEUED}'
              AND (a.block_id IS NULL OR a.block_id = r.block_id)
            ORDER BY r.block_id, r.site_id FOR UPDATE OF r) l"""),
        {"id": request_id},
    )


def _close(connection: Connection, request_id: int, by: str, reason: str) -> str:
    """The request is cancelled. Returns its kind."""
    request = connection.execute(
        text("SELECT kind, state, closed_by, closed_because FROM requests WHERE id = :id"), {"id": request_id}
    ).one()
    kind, state, closed_by, because = request
    if (RequestState(state), RequestEvent.WITHDRAWN) not in REQUEST_MOVES:
        state_text = " by ".join(filter(None, [f"request {request_id} is {state}", closed_by]))
        raise InventoryError(
            f"{state_text}{f': {because}' if because else ''}; only an open request can be cancelled",
            request_id=request_id,
            state=state,
        )
    connection.execute(
        text("""
        UPDATE requests SET state = :state, closed_at = now(), updated_at = now(), closed_by = :by,
               closed_because = :reason WHERE id = :id"""),
        {
            "id": request_id,
            "state": str(next_state(RequestState(state), RequestEvent.WITHDRAWN)),
            "by": by,
            "reason": reason,
        },
    )
    return str(kind)


def _load(connection: Connection, request_id: int) -> None:
    """``withdrawn``: the actions of the request that are not finished. Deletions that are done by now are so."""
    connection.execute(
        text(f"""
        UPDATE request_actions a SET state = '{ActionState.DONE}', updated_at = now() FROM requests r
        WHERE a.request_id = :id AND r.id = a.request_id AND r.kind = '{RequestKind.DELETION}'
          AND a.state = '{ActionState.QUEUED}'
          AND NOT EXISTS (SELECT FROM block_replicas c WHERE c.block_id = a.block_id AND c.site_id = a.site_id)"""),
        {"id": request_id},
    )
    connection.execute(
        text(f"""
        CREATE TEMPORARY TABLE withdrawn ON COMMIT DROP AS
        SELECT a.id, a.dataset_id, a.block_id, a.site_id, a.from_group_id, a.was_growing, a.plan_id, r.group_id
        FROM request_actions a JOIN requests r ON r.id = a.request_id
        WHERE a.request_id = :id AND a.state = '{ActionState.QUEUED}'"""),
        {"id": request_id},
    )
    connection.execute(text("ANALYZE withdrawn"))


def _withdraw_copies(connection: Connection) -> CancelSummary:
    connection.execute(text(REPLICAS))
    connection.execute(text("ANALYZE replicas"))
    unfinished = "SELECT block_id, site_id FROM replicas WHERE NOT is_complete AND NOT is_shared"
    subscriptions = _withdraw_subscriptions(connection, SubscriptionAction.COPY, unfinished, ["dealer", "resubscribe"])
    connection.execute(text(STILL_SUBSCRIBED))
    connection.execute(text("ANALYZE still_subscribed"))
    unowned = block_replica.disown(connection, FORSAKEN, only_incomplete=True)
    dataset_replica.stop_growing(connection, FULLY_WITHDRAWN)
    removed = drop_empty(connection, FORSAKEN).num_block_replicas
    dataset_replica.drop_hollow(connection, "SELECT DISTINCT dataset_id, site_id FROM withdrawn")
    kept = connection.execute(text(KEPT)).scalar_one()
    _cancel_actions(connection)
    return CancelSummary(RequestKind.COPY, subscriptions, int(kept), 0, unowned - removed, removed)


OF_ACTION = """c.dataset_id = a.dataset_id AND c.site_id = a.site_id
               AND (a.block_id IS NULL OR a.block_id = c.block_id)"""
"""The block replica ``c`` is one of the action ``a``."""

REPLICAS = f"""
    CREATE TEMPORARY TABLE replicas ON COMMIT DROP AS
    SELECT c.block_id, c.dataset_id, c.site_id, c.is_complete, c.group_id = a.group_id AS is_ours, bool_or(
        EXISTS (
            SELECT FROM request_actions o JOIN requests q ON q.id = o.request_id AND q.kind = '{RequestKind.COPY}'
                AND q.state IN {OPEN_REQUESTS}
            WHERE o.state = '{ActionState.QUEUED}' AND o.dataset_id = c.dataset_id AND o.site_id = c.site_id
              AND (o.block_id IS NULL OR o.block_id = c.block_id))
        OR EXISTS (
            SELECT FROM dealer_history h
            WHERE h.dataset_id = c.dataset_id AND h.site_id = c.site_id AND h.request_id IS NULL
              AND (h.plan_id >= a.plan_id OR h.plan_id IN (
                  SELECT s.plan_id FROM files f JOIN subscriptions s ON s.file_id = f.id AND s.site_id = c.site_id
                      AND s.action = '{SubscriptionAction.COPY}' AND s.state IN {ACTIVE}
                        WHERE f.block_id = c.block_id)))) AS is_shared
    FROM withdrawn a JOIN block_replicas c ON {OF_ACTION}
    GROUP BY c.block_id, c.dataset_id, c.site_id, c.is_complete, c.group_id, a.group_id"""
"""Shared: another open request asks for the block there, or a plugin of the Dealer for its own reasons (by a plan
since, or by the one whose subscriptions stand)."""

STILL_SUBSCRIBED = f"""
    CREATE TEMPORARY TABLE still_subscribed ON COMMIT DROP AS
    SELECT DISTINCT b.block_id, b.site_id FROM files_back b
    JOIN subscriptions s ON s.file_id = b.file_id AND s.site_id = b.site_id AND s.state IN {ACTIVE}"""

HAS_NO_SUBSCRIPTION = (
    "NOT EXISTS (SELECT FROM still_subscribed w WHERE w.block_id = r.block_id AND w.site_id = r.site_id)"
)

FORSAKEN = f"""
    SELECT r.block_id, r.site_id FROM replicas r
    WHERE NOT r.is_complete AND NOT r.is_shared AND r.is_ours AND {HAS_NO_SUBSCRIPTION}"""
"""Block replicas that were wanted for this request only, and are not complete."""

FULLY_WITHDRAWN = f"""
    SELECT a.dataset_id, a.site_id FROM withdrawn a JOIN dataset_replicas d USING (dataset_id, site_id)
    WHERE a.block_id IS NULL AND d.group_id = a.group_id
      AND NOT EXISTS (SELECT FROM replicas r
                      WHERE r.dataset_id = a.dataset_id AND r.site_id = a.site_id AND r.is_shared)
      AND NOT EXISTS (SELECT FROM request_actions o JOIN requests q ON q.id = o.request_id
                          AND q.kind = '{RequestKind.COPY}' AND q.state IN {OPEN_REQUESTS}
                      WHERE o.dataset_id = a.dataset_id AND o.site_id = a.site_id AND o.block_id IS NULL
                        AND o.state = '{ActionState.QUEUED}')"""
"""Dataset replicas that grew for this request only."""

KEPT = """
    SELECT count(*) FROM withdrawn a WHERE EXISTS (
        SELECT FROM replicas r WHERE r.dataset_id = a.dataset_id AND r.site_id = a.site_id AND r.is_shared
          AND (a.block_id IS NULL OR a.block_id = r.block_id))"""


def _give_back(connection: Connection, request_id: int) -> CancelSummary:
    subscriptions = _withdraw_subscriptions(
        connection, SubscriptionAction.DELETE, "SELECT block_id, site_id FROM withdrawn", [f"request {request_id}"]
    )
    num_too_late: int = connection.execute(text(TOO_LATE)).scalar_one()
    num_given_back = block_replica.hand_over(
        connection,
        """SELECT block_id, site_id, CAST(NULL AS smallint) AS from_group_id, from_group_id AS group_id FROM withdrawn
           WHERE from_group_id IS NOT NULL""",
    )
    dataset_replica.grow_again(connection, "SELECT dataset_id, site_id FROM withdrawn WHERE was_growing")
    _cancel_actions(connection)
    return CancelSummary(RequestKind.DELETION, subscriptions - num_too_late, 0, num_given_back, 0, 0, num_too_late)


TOO_LATE = """
    SELECT count(DISTINCT s.id) FROM files_back b
    JOIN subscriptions s ON s.file_id = b.file_id AND s.site_id = b.site_id
    JOIN deletions d ON d.subscription_id = s.id
    WHERE d.is_unsettled"""
"""Files that an executor had claimed before the request was cancelled, and that may be gone."""


def _withdraw_subscriptions(connection: Connection, action: str, blocks_sql: str, origins: list[str]) -> int:
    """Cancel what these origins subscribed for the files of the (block_id, site_id) of ``blocks_sql``; how many.

    The table has a key, since the statistics of young rows lag behind: without it the planner compares all with all.
    """
    connection.execute(
        text("""
        CREATE TEMPORARY TABLE files_back (block_id bigint, file_id bigint, site_id smallint,
                                           PRIMARY KEY (file_id, site_id)) ON COMMIT DROP""")
    )
    connection.execute(
        text(f"""
        INSERT INTO files_back
        SELECT b.block_id, f.id, b.site_id FROM ({blocks_sql}) b JOIN files f ON f.block_id = b.block_id
        ORDER BY f.id, b.site_id""")
    )
    connection.execute(text("ANALYZE files_back"))
    return connection.execute(
        text(f"""
        UPDATE subscriptions s SET state = '{SubscriptionState.CANCELLED}', hold_reason = NULL, updated_at = now()
        FROM files_back b
        WHERE s.file_id = b.file_id AND s.site_id = b.site_id AND s.action = :action
          AND s.state IN {WITHDRAWABLE} AND s.origin = ANY(CAST(:origins AS text[]))"""),
        {"action": action, "origins": origins},
    ).rowcount


def _cancel_actions(connection: Connection) -> None:
    connection.execute(
        text(f"""
        UPDATE request_actions a SET state = '{ActionState.CANCELLED}', updated_at = now()
        FROM withdrawn w WHERE w.id = a.id""")
    )
