"""The last look of a commit: which of a plan's deletions must not happen after all, and why.

Set-wise, on the tables of the commit's transaction: ``doomed`` (the plan's deletions) and ``enforced``. The checks come
in an order: what one leaves out counts as staying for those behind it.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.inventory.database import insert_frame, select_frame
from dynamo_ops.inventory.frames import (
    BLOCK_REPLICAS,
    DATASET_REPLICAS,
    GROUPS,
    LOCKS,
    SITES,
    InventoryFrames,
    empty,
)
from dynamo_ops.policy.lock import KEYS, locked_expr
from dynamo_ops.quality.thresholds import LastCopies

ACTIVE = "('new', 'inbatch', 'retry', 'held')"
STAYS = """(o.group_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM doomed x WHERE x.block_id = o.block_id AND x.site_id = o.site_id AND x.left_out IS NULL))"""
"""The block replica ``o`` is owned, and nothing of this plan takes it away."""

CHANGED: Mapping[str, str] = {
    "the replica is no longer there": """
        NOT EXISTS (SELECT FROM block_replicas r WHERE r.block_id = d.block_id AND r.site_id = d.site_id)""",
    "the replica has changed since it was planned": """
        EXISTS (SELECT FROM block_replicas r WHERE r.block_id = d.block_id AND r.site_id = d.site_id
                AND (r.group_id IS DISTINCT FROM d.group_id OR r.size_bytes <> d.size_bytes))""",
    "the dataset's status has changed since it was planned": """
        EXISTS (SELECT FROM datasets a WHERE a.id = d.dataset_id AND a.status IS DISTINCT FROM d.dataset_status)""",
}
LOCKED = "it is locked"
NEEDED = "an enforcer rule needs it"
LAST_SOURCE = "it is the only source of a copy that is still pending"
LAST_COPY = "it is the last copy"


def recheck(connection: Connection, deletions: pl.DataFrame, last_copies: LastCopies) -> None:
    """Mark in ``doomed.left_out``, with the reason, what must be kept after all. ``deletions``: rows of ``doomed``."""
    for reason, condition in CHANGED.items():
        _leave_out(connection, reason, condition)
    _leave_out_locked(connection, deletions)
    _leave_out_needed(connection)
    _find_alone(connection)
    _leave_out(connection, LAST_SOURCE, _is_last_source())
    if last_copies != "always":
        asked = "d.is_last_copy_allowed IS NOT TRUE" if last_copies == "delete_lines" else "true"
        _find_alone(connection)
        _leave_out(
            connection, LAST_COPY, f"d.size_bytes > 0 AND {asked} AND d.block_id IN (SELECT block_id FROM alone)"
        )


def pending_sources(connection: Connection, deletions: pl.DataFrame) -> pl.DataFrame:
    """``block_id``, ``site_id`` of those ``deletions`` from which a copy to another site is still pending."""
    connection.execute(text("CREATE TEMPORARY TABLE asked (block_id bigint, site_id smallint) ON COMMIT DROP"))
    insert_frame(connection, "asked", deletions.select("block_id", "site_id"))
    connection.execute(text("ANALYZE asked"))
    wanted = f"SELECT d.block_id, d.site_id FROM asked d WHERE {_is_wished_elsewhere()}"
    return select_frame(connection, wanted, {"block_id": pl.Int64, "site_id": pl.Int64})


def _leave_out(connection: Connection, reason: str, condition: str) -> None:
    connection.execute(
        text(f"UPDATE doomed d SET left_out = :reason WHERE left_out IS NULL AND {condition}"), {"reason": reason}
    )


def _find_alone(connection: Connection) -> None:
    """``alone``: blocks of which no complete replica stays anywhere."""
    connection.execute(text("DROP TABLE IF EXISTS alone"))
    connection.execute(
        text(f"""
        CREATE TEMPORARY TABLE alone ON COMMIT DROP AS
        SELECT block_id FROM doomed WHERE left_out IS NULL
        EXCEPT
        SELECT o.block_id FROM block_replicas o JOIN doomed d USING (block_id) WHERE o.is_complete AND {STAYS}""")
    )
    connection.execute(text("ANALYZE alone"))


def _is_wished_elsewhere() -> str:
    return f"""
        EXISTS (SELECT FROM files f JOIN subscriptions s ON s.file_id = f.id AND s.action = 'copy'
                    AND s.state IN {ACTIVE} AND s.site_id <> d.site_id
                WHERE f.block_id = d.block_id)"""


def _is_last_source() -> str:
    return f"""
        d.block_id IN (SELECT block_id FROM alone) AND ({_is_wished_elsewhere()}
            OR EXISTS (SELECT FROM block_replicas o WHERE o.block_id = d.block_id AND o.site_id <> d.site_id
                       AND NOT o.is_complete AND {STAYS}))"""


def _leave_out_needed(connection: Connection) -> None:
    """Copies that an enforcer rule counted on may have gone since: what it still needs stays, all of it."""
    connection.execute(
        text(f"""
        WITH there AS (
            SELECT DISTINCT o.dataset_id, o.site_id FROM block_replicas o JOIN enforced e USING (dataset_id, site_id)
            WHERE e.is_left AND {STAYS}),
        few AS (
            SELECT e.rule, e.dataset_id FROM enforced e LEFT JOIN there t USING (dataset_id, site_id)
            GROUP BY e.rule, e.dataset_id, e.num_copies HAVING count(t.site_id) < e.num_copies),
        needed AS (SELECT DISTINCT e.dataset_id, e.site_id FROM enforced e JOIN few USING (rule, dataset_id))
        UPDATE doomed d SET left_out = :reason FROM needed n
        WHERE d.left_out IS NULL AND d.dataset_id = n.dataset_id AND d.site_id = n.site_id"""),
        {"reason": NEEDED},
    )


def _leave_out_locked(connection: Connection, deletions: pl.DataFrame) -> None:
    """Locks set since the plan was made are respected: the locks in force now are tried on all deletions."""
    locks = select_frame(
        connection,
        """SELECT item, sites, groups FROM locks
           WHERE removed_at IS NULL AND (expires_at IS NULL OR expires_at > now())""",
        LOCKS,
    )
    if locks.is_empty():
        return
    has_blocks = locks["item"].str.contains("#", literal=True).any()
    frames = InventoryFrames(
        sites=select_frame(connection, "SELECT id, name, storage_type, status FROM sites", SITES),
        groups=select_frame(connection, "SELECT id, name, ownership_level FROM groups", GROUPS),
        datasets=select_frame(
            connection,
            "SELECT id, name FROM datasets WHERE id IN (SELECT dataset_id FROM doomed)",
            {"dataset_id": pl.Int64, "dataset": pl.String},
        ),
        blocks=select_frame(
            connection,
            f"""SELECT id, dataset_id, name FROM blocks
                WHERE {has_blocks} AND id IN (SELECT block_id FROM doomed)""",
            {"block_id": pl.Int64, "dataset_id": pl.Int64, "block": pl.String},
        ),
        dataset_replicas=empty(DATASET_REPLICAS),
        block_replicas=empty(BLOCK_REPLICAS),
        locks=locks,
    )
    found = deletions.select(KEYS).filter(locked_expr(frames))
    connection.execute(text("CREATE TEMPORARY TABLE now_locked (block_id bigint, site_id smallint) ON COMMIT DROP"))
    insert_frame(connection, "now_locked", found.select("block_id", "site_id"))
    _leave_out(connection, LOCKED, "(d.block_id, d.site_id) IN (SELECT block_id, site_id FROM now_locked)")
