"""Requests move on by what is there: actions are done or undone, requests completed or rejected. Set-wise.

Called wherever replicas have changed; safe to repeat, and by several at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.base.glob import glob_matches
from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.event.kinds import EventKind
from dynamo_ops.event.writer import in_order
from dynamo_ops.inventory.request_event import closing
from dynamo_ops.request.copy_request import NEVER_COPIED
from dynamo_ops.request.states import KEPT_ACTIONS, OPEN_REQUESTS, ActionState, RequestKind, RequestState

CLOSED = {
    RequestState.REJECTED: EventKind.REQUEST_REJECTED,
    RequestState.COMPLETED: EventKind.REQUEST_COMPLETED,
}
NOT_THERE = "the copy is not there any more for the group: not made, deleted, or taken over"
CLAIMED = "claimed again before it was deleted, by group "
ALL_CLAIMED = "all of it was claimed again before it was deleted"


@dataclass(frozen=True)
class AdvanceSummary:
    """How many requests and actions came to which end."""

    num_completed: int
    num_rejected: int
    num_actions_done: int
    num_actions_failed: int


def advance(database: Database) -> AdvanceSummary:
    """Bring all open requests, and the actions under way, to the state that follows from what is there.

    A copy is done when its blocks are complete and the group's at the site, failed when the group owns nothing of it
    there; a deletion is done when the block replica is gone, failed when a group owns it again. A copy request is
    completed when every dataset of it has enough sites (0 copies: each) with all that is asked of it, complete and
    the group's: one for a dataset without blocks waits for them. Datasets of which no copy is made any more do not
    count; if there is no other, the request is rejected. A deletion request is completed when nothing is under way.
    """
    with database.begin() as connection:
        hold(connection, Lock.REQUESTS)
        _load(connection)
        num_done = _change_actions(connection, ActionState.DONE, "NULL", DONE)
        num_failed = sum(_change_actions(connection, ActionState.FAILED, reason, where) for reason, where in FAILED)
        in_order(connection)
        num_rejected = _close(connection, RequestState.REJECTED, REJECTED)
        num_completed = _close(connection, RequestState.COMPLETED, COMPLETED)
        return AdvanceSummary(num_completed, num_rejected, num_done, num_failed)


def _load(connection: Connection) -> None:
    """``queued``: actions under way; ``demands``: (copy request, dataset) with ``is_whole``, ``num_asked`` blocks,
    ``set_number``; ``set_sites``: the sites of each set; ``held``: what groups own where of those datasets."""
    for statement in TABLES:
        connection.execute(text(statement))
    sets = connection.execute(text("SELECT number, sites FROM site_sets")).all()
    sites = connection.execute(text("SELECT id, name FROM sites")).all()
    ids: dict[str, list[int]] = {
        pattern: [site for site, name in sites if glob_matches(name, pattern)]
        for pattern in {pattern for _, patterns in sets for pattern in patterns}
    }
    pairs = sorted({(number, site) for number, patterns in sets for pattern in patterns for site in ids[pattern]})
    set_sites = pl.DataFrame(pairs, schema={"number": pl.Int64, "site_id": pl.Int64}, orient="row")
    insert_frame(connection, "set_sites", set_sites)
    for statement in HOLDINGS:
        connection.execute(text(statement))


TABLES = (
    f"""CREATE TEMPORARY TABLE queued ON COMMIT DROP AS
       SELECT a.id, a.dataset_id, a.block_id, a.site_id, r.kind, r.group_id
       FROM request_actions a JOIN requests r ON r.id = a.request_id WHERE a.state = '{ActionState.QUEUED}'""",
    "ANALYZE queued",
    f"""CREATE TEMPORARY TABLE site_sets ON COMMIT DROP AS
       SELECT row_number() OVER () AS number, s.sites FROM (
           SELECT DISTINCT sites FROM requests WHERE kind = '{RequestKind.COPY}' AND state IN {OPEN_REQUESTS}) s""",
    "CREATE TEMPORARY TABLE set_sites (number bigint, site_id smallint) ON COMMIT DROP",
    f"""CREATE TEMPORARY TABLE demands ON COMMIT DROP AS
       SELECT i.request_id, i.dataset_id, r.group_id, r.num_copies, s.number AS set_number,
              bool_or(i.block_id IS NULL) AS is_whole, count(i.block_id) AS num_asked,
              d.status IN {NEVER_COPIED} AS is_gone, d.status, d.name AS dataset, false AS is_met
       FROM requests r JOIN request_items i ON i.request_id = r.id JOIN site_sets s ON s.sites = r.sites
           JOIN datasets d ON d.id = i.dataset_id
       WHERE r.kind = '{RequestKind.COPY}' AND r.state IN {OPEN_REQUESTS}
       GROUP BY i.request_id, i.dataset_id, r.group_id, r.num_copies, s.number, d.status, d.name""",
    "ANALYZE demands",
)

HOLDINGS = (
    "ANALYZE set_sites",
    # Most open requests wait for transfers. What is incomplete somewhere is neither done nor failed there: only the
    # rest is worth counting blocks for.
    """CREATE TEMPORARY TABLE pending ON COMMIT DROP AS
       SELECT DISTINCT dataset_id, site_id, group_id FROM block_replicas
       WHERE NOT is_complete AND dataset_id IN (SELECT dataset_id FROM demands UNION SELECT dataset_id FROM queued)""",
    "ANALYZE pending",
    f"""DELETE FROM queued q USING pending p, datasets d
       WHERE q.kind = '{RequestKind.COPY}' AND q.block_id IS NULL AND p.dataset_id = q.dataset_id
         AND p.site_id = q.site_id
         AND p.group_id = q.group_id AND d.id = q.dataset_id AND d.status NOT IN {NEVER_COPIED}""",
    f"""CREATE TEMPORARY TABLE looked_at ON COMMIT DROP AS
       SELECT c.dataset_id, c.site_id FROM (
           SELECT w.dataset_id, r.site_id, w.num_copies, s.num_sites,
                  count(*) OVER (PARTITION BY w.request_id, w.dataset_id) AS num_whole
           FROM demands w JOIN dataset_replicas r USING (dataset_id)
               JOIN set_sites t ON t.number = w.set_number AND t.site_id = r.site_id
               JOIN (SELECT number, count(*) AS num_sites FROM set_sites GROUP BY number) s ON s.number = w.set_number
           WHERE w.is_whole AND NOT w.is_gone AND NOT EXISTS (
               SELECT FROM pending p WHERE p.dataset_id = r.dataset_id AND p.site_id = r.site_id)) c
       WHERE c.num_whole >= CASE WHEN c.num_copies = 0 THEN c.num_sites ELSE c.num_copies END
       UNION SELECT dataset_id, site_id FROM queued WHERE kind = '{RequestKind.COPY}' AND block_id IS NULL""",
    "ANALYZE looked_at",
    """CREATE TEMPORARY TABLE held ON COMMIT DROP AS
       SELECT dataset_id, group_id, site_id, count(*) FILTER (WHERE is_complete) AS num_complete
       FROM block_replicas JOIN looked_at USING (dataset_id, site_id) WHERE group_id IS NOT NULL
       GROUP BY dataset_id, group_id, site_id""",
    """CREATE TEMPORARY TABLE num_blocks ON COMMIT DROP AS
       SELECT dataset_id, count(*) AS num_blocks FROM blocks
       WHERE dataset_id IN (SELECT dataset_id FROM looked_at) GROUP BY dataset_id""",
    "ANALYZE held",
    "ANALYZE num_blocks",
    """CREATE TEMPORARY TABLE sites_met ON COMMIT DROP AS
       SELECT w.request_id, w.dataset_id, h.site_id
       FROM demands w JOIN held h USING (dataset_id, group_id) JOIN num_blocks n USING (dataset_id)
           JOIN set_sites s ON s.number = w.set_number AND s.site_id = h.site_id
       WHERE w.is_whole AND NOT w.is_gone AND h.num_complete = n.num_blocks
       UNION ALL
       SELECT w.request_id, w.dataset_id, c.site_id
       FROM demands w JOIN request_items i USING (request_id, dataset_id)
           JOIN block_replicas c ON c.block_id = i.block_id AND c.is_complete AND c.group_id = w.group_id
           JOIN set_sites s ON s.number = w.set_number AND s.site_id = c.site_id
       WHERE NOT w.is_whole AND NOT w.is_gone
       GROUP BY w.request_id, w.dataset_id, c.site_id, w.num_asked HAVING count(*) = w.num_asked""",
    """UPDATE demands w SET is_met = true
       FROM (SELECT request_id, dataset_id, count(*) AS num_sites FROM sites_met GROUP BY request_id, dataset_id) m,
            (SELECT number, count(*) AS num_sites FROM set_sites GROUP BY number) s
       WHERE m.request_id = w.request_id AND m.dataset_id = w.dataset_id AND s.number = w.set_number
         AND m.num_sites >= CASE WHEN w.num_copies = 0 THEN s.num_sites ELSE w.num_copies END""",
)

DONE = f"""
    (q.kind = '{RequestKind.DELETION}' AND NOT EXISTS (
        SELECT FROM block_replicas c WHERE c.block_id = q.block_id AND c.site_id = q.site_id))
    OR (q.kind = '{RequestKind.COPY}' AND q.block_id IS NULL AND EXISTS (
        SELECT FROM held h JOIN num_blocks n USING (dataset_id)
        WHERE h.dataset_id = q.dataset_id AND h.group_id = q.group_id AND h.site_id = q.site_id
          AND h.num_complete = n.num_blocks))
    OR (q.kind = '{RequestKind.COPY}' AND q.block_id IS NOT NULL AND EXISTS (
        SELECT FROM block_replicas c WHERE c.block_id = q.block_id AND c.site_id = q.site_id
          AND c.is_complete AND c.group_id = q.group_id))"""

FAILED = (
    (
        f"""'{CLAIMED}' || (SELECT g.name FROM block_replicas c JOIN groups g ON g.id = c.group_id
                            WHERE c.block_id = q.block_id AND c.site_id = q.site_id)""",
        f"""q.kind = '{RequestKind.DELETION}' AND EXISTS (
            SELECT FROM block_replicas c
            WHERE c.block_id = q.block_id AND c.site_id = q.site_id AND c.group_id IS NOT NULL)""",
    ),
    (
        f"""coalesce((SELECT 'the dataset is ' || d.status FROM datasets d
                      WHERE d.id = q.dataset_id AND d.status IN {NEVER_COPIED}), '{NOT_THERE}')""",
        f"""q.kind = '{RequestKind.COPY}' AND (
            EXISTS (SELECT FROM datasets d WHERE d.id = q.dataset_id AND d.status IN {NEVER_COPIED})
            OR q.block_id IS NOT NULL AND NOT EXISTS (
                SELECT FROM block_replicas c
                WHERE c.block_id = q.block_id AND c.site_id = q.site_id AND c.group_id = q.group_id)
            OR q.block_id IS NULL AND EXISTS (SELECT FROM num_blocks n WHERE n.dataset_id = q.dataset_id)
               AND NOT EXISTS (SELECT FROM held h WHERE h.dataset_id = q.dataset_id AND h.group_id = q.group_id
                               AND h.site_id = q.site_id))""",
    ),
)

REJECTED = f"""
    SELECT request_id, string_agg(dataset || ' is ' || status, '; ' ORDER BY dataset) AS because
    FROM demands WHERE request_id IN (SELECT request_id FROM demands WHERE is_gone)
    GROUP BY request_id HAVING bool_and(is_gone)
    UNION ALL
    SELECT r.id, '{ALL_CLAIMED}' FROM requests r
    WHERE r.kind = '{RequestKind.DELETION}' AND r.state IN {OPEN_REQUESTS}
      AND NOT EXISTS (SELECT FROM request_actions a WHERE a.request_id = r.id AND a.state IN {KEPT_ACTIONS})"""

COMPLETED = f"""
    SELECT request_id, 'but for ' || string_agg(dataset || ', which is ' || status, '; ' ORDER BY dataset)
               FILTER (WHERE is_gone) AS because
    FROM demands WHERE request_id IN (SELECT request_id FROM demands WHERE is_met)
    GROUP BY request_id HAVING bool_and(is_met OR is_gone)
    UNION ALL
    SELECT r.id, NULL FROM requests r
    WHERE r.kind = '{RequestKind.DELETION}' AND r.state IN {OPEN_REQUESTS}
      AND NOT EXISTS (SELECT FROM request_actions a WHERE a.request_id = r.id AND a.state = '{ActionState.QUEUED}')
      AND EXISTS (SELECT FROM request_actions a WHERE a.request_id = r.id AND a.state = '{ActionState.DONE}')"""


def _change_actions(connection: Connection, state: ActionState, reason: str, where: str) -> int:
    return connection.execute(
        text(f"""
        UPDATE request_actions a SET state = '{state}', reason = {reason}, updated_at = now()
        FROM queued q WHERE a.id = q.id AND a.state = '{ActionState.QUEUED}' AND ({where})""")
    ).rowcount


def _close(connection: Connection, state: RequestState, requests: str) -> int:
    return connection.execute(
        text(
            closing(
                CLOSED[state],
                f"""
        UPDATE requests AS r SET state = '{state}', closed_because = c.because, closed_at = now(), updated_at = now()
        FROM ({requests}) AS c WHERE r.id = c.request_id AND r.state IN {OPEN_REQUESTS}""",
            )
        )
    ).rowcount
