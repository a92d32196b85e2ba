"""The last look of a commit: which of a plan's deletions must not happen after all, and why.

Set-wise, on the tables of the commit's transaction: ``doomed`` (the plan's deletions) and ``enforced``. The checks come
in an order: what one leaves out counts as staying for those behind it.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.base.spans import span
from dynamo_ops.database.connection import insert_frame, select_frame
from dynamo_ops.inventory.replica.copies import is_block_doomed
from dynamo_ops.inventory.replica.doomed import (
    IS_AWAITED_ELSEWHERE,
    IS_LAST_SOURCE,
    STAYS,
    find_alone,
    find_not_good,
    leave_out,
)
from dynamo_ops.inventory.states import LAST_COPY, LAST_SOURCE, LOCKED, NEEDED
from dynamo_ops.lock.rows import locked_rows
from dynamo_ops.quality.thresholds import LastCopies

CHANGED: Mapping[str, str] = {
    "the replica is no longer there": """
        NOT EXISTS (SELECT FROM block_replicas r WHERE r.block_id = d.block_id AND r.site_id = d.site_id)""",
    "the replica has changed since it was planned": """
        EXISTS (SELECT FROM block_replicas r WHERE r.block_id = d.block_id AND r.site_id = d.site_id
                AND (r.group_id IS DISTINCT FROM d.group_id OR r.size_bytes <> d.size_bytes))""",
    "the dataset's status has changed since it was planned": """
        EXISTS (SELECT FROM datasets a WHERE a.id = d.dataset_id AND a.status IS DISTINCT FROM d.dataset_status)""",
}


@span("detox.recheck")
def recheck(connection: Connection, deletions: pl.DataFrame, last_copies: LastCopies) -> None:
    """Mark in ``doomed.left_out``, with the reason, what must be kept after all. ``deletions``: rows of ``doomed``."""
    find_not_good(connection)
    for reason, condition in CHANGED.items():
        leave_out(connection, reason, condition)
    _leave_out_locked(connection, deletions)
    _leave_out_needed(connection)
    find_alone(connection)
    leave_out(connection, LAST_SOURCE, IS_LAST_SOURCE)
    if last_copies != "always":
        asked = "d.is_last_copy_allowed IS NOT TRUE" if last_copies == "delete_lines" else "true"
        find_alone(connection)
        leave_out(connection, LAST_COPY, f"d.size_bytes > 0 AND {asked} AND d.block_id IN (SELECT block_id FROM alone)")


def pending_sources(connection: Connection, deletions: pl.DataFrame) -> pl.DataFrame:
    """``block_id``, ``site_id`` of those ``deletions`` from which a copy to another site is still pending."""
    connection.execute(text("CREATE TEMPORARY TABLE asked (block_id bigint, site_id smallint) ON COMMIT DROP"))
    insert_frame(connection, "asked", deletions.select("block_id", "site_id"))
    connection.execute(text("ANALYZE asked"))
    wanted = f"SELECT d.block_id, d.site_id FROM asked d WHERE {IS_AWAITED_ELSEWHERE}"
    return select_frame(connection, wanted, {"block_id": pl.Int64, "site_id": pl.Int64})


def _leave_out_needed(connection: Connection) -> None:
    """Copies that an enforcer rule counted on may have gone since: what it still needs stays, all of it."""
    connection.execute(
        text(f"""
        WITH there AS (
            SELECT DISTINCT o.dataset_id, o.site_id FROM block_replicas o JOIN enforced e USING (dataset_id, site_id)
            WHERE e.is_left AND {STAYS} AND NOT {is_block_doomed("o.block_id", "o.site_id")}),
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
    locked_replicas = locked_rows(connection, "doomed", deletions)
    connection.execute(text("CREATE TEMPORARY TABLE now_locked (block_id bigint, site_id smallint) ON COMMIT DROP"))
    insert_frame(connection, "now_locked", locked_replicas)
    leave_out(connection, LOCKED, "(d.block_id, d.site_id) IN (SELECT block_id, site_id FROM now_locked)")
