"""What events say of requests. They are closed by two rooms: by that of requests, and here, where what they ask for is
declared invalid."""

from __future__ import annotations

from dynamo_ops.event.kinds import EventKind
from dynamo_ops.event.writer import MOST_NAMES, events_of, moment_text
from dynamo_ops.inventory.names import EVER_KNOWN_DATASETS

ACTIONS = """(
    SELECT action.site_id, action.size_bytes, action.updated_at FROM request_actions AS action
    WHERE action.request_id = request.id AND action.block_id IS NULL
    UNION ALL
    SELECT action.site_id, action.size_bytes, action.updated_at FROM request_actions AS action
    WHERE action.request_id = request.id AND action.block_id IS NOT NULL)"""
"""SQL: the actions of the row ``request``, by the two indexes that there are of them."""


def event_rows(requests: str) -> str:
    """The rows of events (``event.writer``) about ``requests``: SQL of rows of the table ``requests``.

    Sites: where something was done for it, or that it names. Datasets: the first of them.
    """
    return f"""
        SELECT request.id::text AS object_name, request.requested_by AS person,
               ARRAY(SELECT owner.name FROM groups AS owner WHERE owner.id = request.group_id) AS groups,
               ARRAY(SELECT site.name FROM sites AS site
                     WHERE site.name = ANY(request.sites) OR site.id = ANY(done.site_ids) ORDER BY 1) AS sites,
               ARRAY(SELECT dataset.name FROM request_items AS item
                     JOIN {EVER_KNOWN_DATASETS} AS dataset ON dataset.id = item.dataset_id
                     WHERE item.request_id = request.id GROUP BY 1 ORDER BY min(item.number) LIMIT {MOST_NAMES})
                   AS datasets,
               jsonb_build_object(
                   'request', request.id, 'request_kind', request.kind,
                   'created_at', {moment_text("request.created_at")},
                   'num_copies', request.num_copies, 'size_bytes', done.size_bytes, 'closed_by', request.closed_by,
                   'reason', request.closed_because) AS facts
        FROM {requests} AS request CROSS JOIN LATERAL (
            SELECT array_agg(DISTINCT action.site_id) AS site_ids, sum(action.size_bytes)::bigint AS size_bytes
            FROM {ACTIONS} AS action) AS done"""


def closing(kind: EventKind, update: str) -> str:
    """``update`` (of requests AS r, without RETURNING) and the events of those that it closes, as one statement: its
    count is theirs."""
    return f"""
        WITH closed AS ({update} RETURNING r.*)
        INSERT INTO {events_of(kind, event_rows("closed"))}"""
