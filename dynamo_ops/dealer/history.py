"""What the Dealer did: written by each commit, in its transaction; asked for by dataset long after."""

from __future__ import annotations

from datetime import datetime

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.base.spans import span
from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.inventory.names import EVER_KNOWN_DATASETS
from dynamo_ops.plan.history import history_of_dataset
from dynamo_ops.plan.states import PlanKind
from dynamo_ops.plan.store import StoredPlan

COPY = ["copy", "plugin", "request_id", "dataset_id", "site_id", "group_id", "reason", "weight"]


@span("dealer.record")
def record_plan(connection: Connection, plan: StoredPlan) -> None:
    """Write the copies of this commit to the history. Needs its table ``wanted`` as it is after it, and the plan's
    frames ``copies`` and ``block_copies``."""
    copies = plan.frame("copies")
    if copies.is_empty():
        return
    counted = plan.frame("block_copies").group_by("dataset_id", "site_id").agg(num_all=pl.len())
    made_copies = (
        copies.group_by(COPY)
        .agg(num_named=pl.col("block_id").count(), size_bytes=pl.col("size_bytes").sum())
        .join(counted, on=["dataset_id", "site_id"], how="left")
        .with_columns(num_blocks=pl.when(pl.col("num_named") > 0).then("num_named").otherwise("num_all").fill_null(0))
        .sort("copy")
    )
    connection.execute(
        text("""
        CREATE TEMPORARY TABLE made (copy integer, plugin text, request_id bigint, dataset_id bigint, site_id smallint,
                                     group_id smallint, reason text, weight double precision, num_blocks integer,
                                     size_bytes bigint) ON COMMIT DROP""")
    )
    insert_frame(connection, "made", made_copies.select(*COPY, "num_blocks", "size_bytes"))
    connection.execute(
        text("""
        INSERT INTO dealer_history (dataset_id, site_id, plan_id, copy, plugin, request_id, group_id, num_blocks,
                                    num_left_out, left_out, size_bytes, reason, weight)
        SELECT m.dataset_id, m.site_id, :plan, m.copy, m.plugin, m.request_id, m.group_id, m.num_blocks,
               coalesce(o.number, 0), o.reasons, m.size_bytes, m.reason, m.weight
        FROM made m LEFT JOIN (
            SELECT dataset_id, site_id, count(*) AS number, string_agg(DISTINCT left_out, '; ') AS reasons
            FROM wanted WHERE left_out IS NOT NULL GROUP BY dataset_id, site_id) o USING (dataset_id, site_id)
        ORDER BY 1, 2"""),
        {"plan": plan.id},
    )


HISTORY_SQL = f"""
    SELECT p.committed_at AS at, h.plan_id, p.partition, d.name AS dataset, s.name AS site, h.plugin,
           h.num_blocks::bigint AS num_blocks, h.num_left_out::bigint AS num_left_out, h.left_out, h.size_bytes,
           g.name AS "group", h.request_id, h.reason, h.weight
    FROM dealer_history h JOIN plans p ON p.id = h.plan_id JOIN {EVER_KNOWN_DATASETS} d ON d.id = h.dataset_id
        JOIN sites s ON s.id = h.site_id LEFT JOIN groups g ON g.id = h.group_id
    WHERE h.dataset_id = ANY($1::text::bigint[]) AND p.committed_at >= $2::text::timestamptz
      AND ($3::text IS NULL OR h.site_id = ANY($3::text::bigint[]))
    ORDER BY p.committed_at DESC, h.plan_id DESC, d.name, s.name, h.copy"""


def dataset_history(
    database: Database, dataset: str, *, since: datetime, site: str | None = None, most: int | None = None
) -> pl.DataFrame:
    """What the Dealer did to a dataset, or to those that a glob matches, newest first.

    Columns ``at``, ``plan_id``, ``partition``, ``dataset``, ``site``, ``plugin``, ``num_blocks``, ``num_left_out``,
    ``left_out`` (why), ``size_bytes``, ``group`` (the owner), ``request_id``, ``reason``, ``weight``. ``site``: a name
    or a glob. InventoryError when nothing is called so.
    """
    return history_of_dataset(database, HISTORY_SQL, dataset, since=since, site=site, most=most)


def cycle_history(database: Database, partition: str, *, since: datetime) -> pl.DataFrame:
    """The Dealer's cycles of a partition, newest first, refused ones too: plan_id, planned_for_at, state, num_copies,
    num_files, copied_bytes (to be), num_rejected, num_left_out, by, refused_because."""
    return database.frame(CYCLES_SQL, (partition, since.isoformat()))


CYCLES_SQL = f"""
    SELECT p.id AS plan_id, p.planned_for_at, p.state, (p.summary->>'num_copies')::bigint AS num_copies,
           (p.summary->'commit'->>'num_files')::bigint AS num_files,
           (p.summary->'commit'->>'size_bytes')::bigint AS copied_bytes,
           (SELECT sum(value::bigint)::bigint FROM jsonb_each_text(p.summary->'rejected')) AS num_rejected,
           (SELECT sum(value::bigint)::bigint FROM jsonb_each_text(p.summary->'commit'->'left_out')) AS num_left_out,
           coalesce(p.refused_by, p.approved_by) AS by, p.refused_because
    FROM plans p
    WHERE p.kind = '{PlanKind.DEALER}' AND p.partition = $1 AND p.created_at >= $2::text::timestamptz
    ORDER BY p.created_at DESC, p.id DESC"""


def prune_history(database: Database, *, before: datetime) -> int:
    """Remove what plans committed before this moment did. Returns the number of rows."""
    with database.begin() as connection:
        return connection.execute(
            text("""
            DELETE FROM dealer_history h USING plans p WHERE p.id = h.plan_id AND p.committed_at < :before"""),
            {"before": before},
        ).rowcount
