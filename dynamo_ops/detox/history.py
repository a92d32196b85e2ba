"""What Detox did: written by each commit, in its transaction; asked for by dataset, cycle or site long after."""

from __future__ import annotations

import hashlib
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.base.spans import span
from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.event.kinds import EventKind
from dynamo_ops.event.writer import tell
from dynamo_ops.inventory.names import EVER_KNOWN_BLOCKS, EVER_KNOWN_DATASETS
from dynamo_ops.plan.history import history_of_dataset, ids_of
from dynamo_ops.plan.states import STANDING, Decision, PlanKind
from dynamo_ops.plan.store import StoredPlan, previous_committed

REPLICA = ["dataset_id", "site_id"]
SITE_STATE = ("site_id", "quota_bytes", "is_triggered", "bytes_before", "bytes_after", "protected_bytes")


@span("detox.record")
def record_plan(connection: Connection, plan: StoredPlan) -> None:
    """Write what this commit does to the history. Needs its tables ``doomed`` and ``handed_over`` as they are after it.

    Frames of the plan: ``replica_decisions``, ``site_states``, ``policy_lines``.
    """
    _record_lines(connection, plan)
    parameters = {"plan": plan.id}
    connection.execute(
        text(f"""
        INSERT INTO detox_history (dataset_id, site_id, plan_id, decision, line, num_blocks, size_bytes)
        SELECT dataset_id, site_id, :plan,
               CASE WHEN left_out IS NULL THEN '{Decision.DELETE}' ELSE '{Decision.LEFT_OUT}' END AS decision,
               line, count(*), sum(size_bytes)
        FROM doomed GROUP BY dataset_id, site_id, line, left_out IS NULL
        UNION ALL
        SELECT dataset_id, site_id, :plan, '{Decision.REOWNED}', line, count(*), sum(size_bytes)
        FROM handed_over GROUP BY dataset_id, site_id, line
        ORDER BY 1, 2"""),
        parameters,
    )
    connection.execute(
        text("""
        INSERT INTO detox_left_out (plan_id, block_id, site_id, dataset_id, size_bytes, reason)
        SELECT :plan, block_id, site_id, dataset_id, size_bytes, left_out FROM doomed WHERE left_out IS NOT NULL"""),
        parameters,
    )
    changed = _changed_decisions(connection, plan).with_columns(plan_id=pl.lit(plan.id))
    insert_frame(connection, "detox_history", changed.sort(REPLICA))
    _record_sites(connection, plan)


def _record_lines(connection: Connection, plan: StoredPlan) -> None:
    lines = plan.frame("policy_lines").select("line", "text", "source_line")
    connection.execute(
        text("CREATE TEMPORARY TABLE lines (line integer, text text, source_line integer) ON COMMIT DROP")
    )
    insert_frame(connection, "lines", lines)
    connection.execute(
        text("""
        INSERT INTO policy_lines (policy_version_id, line, text, source_line)
        SELECT :version, line, text, source_line FROM lines ON CONFLICT DO NOTHING"""),
        {"version": plan.policy_version_id},
    )


def _record_sites(connection: Connection, plan: StoredPlan) -> None:
    columns = "site_id smallint, quota_bytes bigint, is_triggered boolean, bytes_before bigint, bytes_after bigint"
    connection.execute(text(f"CREATE TEMPORARY TABLE planned_sites ({columns}, protected_bytes bigint) ON COMMIT DROP"))
    insert_frame(connection, "planned_sites", plan.frame("site_states").select(SITE_STATE))
    connection.execute(
        text(f"""
        INSERT INTO detox_site_states (plan_id, {", ".join(SITE_STATE)}, deleted_bytes)
        SELECT :plan, {", ".join(f"p.{name}" for name in SITE_STATE)}, coalesce(d.size_bytes, 0)
        FROM planned_sites p LEFT JOIN (
            SELECT site_id, sum(size_bytes) AS size_bytes FROM doomed WHERE left_out IS NULL GROUP BY site_id
        ) d USING (site_id)"""),
        {"plan": plan.id},
    )
    tell(connection, EventKind.SITE_FULL, _FULL, {"plan": plan.id, "partition": plan.partition})


_FULL = f"""
    SELECT site.name AS object_name, CAST(NULL AS text) AS person, CAST('{{}}' AS text[]) AS groups,
           ARRAY[site.name] AS sites, CAST('{{}}' AS text[]) AS datasets,
           jsonb_build_object(
               'partition', CAST(:partition AS text), 'plan', CAST(:plan AS bigint), 'quota_bytes', planned.quota_bytes,
               'bytes_before', planned.bytes_before, 'bytes_after', planned.bytes_after,
               'protected_bytes', planned.protected_bytes) AS facts
    FROM planned_sites AS planned JOIN sites AS site ON site.id = planned.site_id
    WHERE planned.is_triggered AND NOT coalesce((
        SELECT earlier.is_triggered FROM detox_site_states AS earlier JOIN plans AS plan ON plan.id = earlier.plan_id
        WHERE earlier.site_id = planned.site_id AND plan.partition = CAST(:partition AS text)
          AND plan.kind = '{PlanKind.DETOX}' AND plan.id <> CAST(:plan AS bigint)
        ORDER BY plan.committed_at DESC, plan.id DESC LIMIT 1), false)"""
"""Sites that are above their watermark, and were not in the plan of the partition that looked at them before."""


def _changed_decisions(connection: Connection, plan: StoredPlan) -> pl.DataFrame:
    """The standing decisions of dataset replicas of which something else is said than in the committed plan before.

    All of them if there was none, or if its rows have been archived.
    """
    decisions = plan.frame("replica_decisions")
    before = previous_committed(connection, plan)
    if before is not None:
        try:
            said_before = _said(before.frame("replica_decisions"), before.frame("policy_lines"))
        except FileNotFoundError:
            pass
        else:
            now = _said(decisions, plan.frame("policy_lines"))
            both = (
                pl.concat([now, said_before.with_columns(-pl.col("said"))])
                .group_by("replica")
                .agg(pl.col("said").sum())
            )
            changed = both.filter(pl.col("said") != 0)["replica"]
            decisions = decisions.filter(_replica().is_in(changed.implode()))
    return decisions.filter(pl.col("decision").is_in(STANDING))


def _said(decisions: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """``replica``, and ``said``: a number for each decision by a line of some text. Their sum tells two states apart.

    Texts, since the number of a line changes when another is put before it.
    """
    texts = dict(lines.select("line", "text").iter_rows())
    kinds = decisions.select("decision", "line").unique()
    numbers = [_number(decision, texts.get(line, "")) for decision, line in kinds.iter_rows()]
    numbered = decisions.join(kinds.with_columns(said=pl.Series(numbers, dtype=pl.Int64)), on=["decision", "line"])
    return numbered.select(_replica().alias("replica"), "said")


def _replica() -> pl.Expr:
    """A dataset replica as one number: site ids have 16 bits."""
    return pl.col("dataset_id").cast(pl.Int64) * 65_536 + pl.col("site_id").cast(pl.Int64)


def _number(decision: str, line_text: str) -> int:
    """A number of 48 bits: some thousand of them can be added up."""
    return int.from_bytes(hashlib.sha256(f"{decision}\0{line_text}".encode()).digest()[:6])


HISTORY_SQL = f"""
    SELECT p.committed_at AS at, p.partition, d.name AS dataset, s.name AS site, h.decision,
           h.num_blocks::bigint AS num_blocks, h.size_bytes, h.line::bigint AS line, l.text AS policy_line,
           CASE WHEN h.decision = '{Decision.LEFT_OUT}' THEN (
               SELECT string_agg(DISTINCT o.reason, '; ') FROM detox_left_out o
               WHERE o.plan_id = h.plan_id AND o.dataset_id = h.dataset_id AND o.site_id = h.site_id) END AS reasons,
           h.plan_id
    FROM detox_history h JOIN plans p ON p.id = h.plan_id JOIN {EVER_KNOWN_DATASETS} d ON d.id = h.dataset_id
        JOIN sites s ON s.id = h.site_id
        LEFT JOIN policy_lines l ON l.policy_version_id = p.policy_version_id AND l.line = h.line
    WHERE h.dataset_id = ANY($1::text::bigint[]) AND p.committed_at >= $2::text::timestamptz
      AND ($3::text IS NULL OR h.site_id = ANY($3::text::bigint[]))
    ORDER BY p.committed_at DESC, h.plan_id DESC, d.name, s.name, h.decision, h.line"""

CYCLES_SQL = f"""
    SELECT p.id AS plan_id, p.planned_for_at, p.state, p.committed_at, p.approved_by, p.refused_by, p.refused_because,
           (p.summary->'commit'->>'num_block_replicas')::bigint AS num_block_replicas,
           (p.summary->'commit'->>'size_bytes')::bigint AS deleted_bytes,
           (p.summary->'commit'->>'num_reowned')::bigint AS num_reowned,
           (SELECT sum(value::bigint)::bigint FROM jsonb_each_text(p.summary->'commit'->'left_out')) AS num_left_out,
           jsonb_array_length(p.summary->'triggered_sites')::bigint AS num_triggered_sites
    FROM plans p
    WHERE p.kind = '{PlanKind.DETOX}' AND p.partition = $1 AND p.created_at >= $2::text::timestamptz
    ORDER BY p.created_at DESC, p.id DESC"""

SITES_SQL = """
    SELECT p.committed_at AS at, p.partition, s.name AS site, t.quota_bytes, t.is_triggered, t.bytes_before,
           t.bytes_after, t.protected_bytes, t.deleted_bytes, t.plan_id
    FROM detox_site_states t JOIN plans p ON p.id = t.plan_id JOIN sites s ON s.id = t.site_id
    WHERE t.site_id = ANY($1::text::bigint[]) AND p.committed_at >= $2::text::timestamptz
      AND ($3::text IS NULL OR p.partition = $3)
    ORDER BY p.committed_at DESC, p.partition, s.name"""


def dataset_history(
    database: Database, dataset: str, *, since: datetime, site: str | None = None, most: int | None = None
) -> pl.DataFrame:
    """What Detox did to a dataset, or to those that a glob matches, newest first.

    Columns ``at``, ``partition``, ``dataset``, ``site``, ``decision``, ``num_blocks``, ``size_bytes``, ``line``,
    ``policy_line``, ``reasons`` (of what was left out), ``plan_id``. ``site``: a name or a glob. InventoryError when
    nothing is called so.
    """
    return history_of_dataset(database, HISTORY_SQL, dataset, since=since, site=site, most=most)


def cycle_history(database: Database, partition: str, *, since: datetime) -> pl.DataFrame:
    """The cycles of a partition, newest first, refused ones too: one row a plan, with what its commit did."""
    return database.frame(CYCLES_SQL, (partition, since.isoformat()))


def site_history(database: Database, site: str, *, since: datetime, partition: str | None = None) -> pl.DataFrame:
    """The state of a site (name or glob) in each committed plan, newest first. InventoryError when none is called
    so."""
    return database.frame(SITES_SQL, (ids_of(database, "sites", site), since.isoformat(), partition))


def left_out(database: Database, plan_id: int) -> pl.DataFrame:
    """What a plan deletes and its commit kept: dataset, block, site, size_bytes, reason; by name."""
    return database.frame(
        f"""
        SELECT d.name AS dataset, coalesce(b.name, o.block_id::text) AS block, s.name AS site, o.size_bytes, o.reason
        FROM detox_left_out o JOIN {EVER_KNOWN_DATASETS} d ON d.id = o.dataset_id
            LEFT JOIN {EVER_KNOWN_BLOCKS} b ON b.id = o.block_id
            JOIN sites s ON s.id = o.site_id WHERE o.plan_id = $1 ORDER BY 1, 2, 3""",
        (plan_id,),
    )


def prune_history(database: Database, *, before: datetime) -> int:
    """Remove what plans committed earlier did, and what they said unless it still stands. Returns the number of rows.

    What a partition said last of a dataset replica is kept however old it is.
    """
    with database.begin() as connection:
        newest = connection.execute(
            text(f"SELECT max(id) FROM plans WHERE kind = '{PlanKind.DETOX}' AND committed_at < :before"),
            {"before": before},
        ).scalar()
        return sum(
            connection.execute(text(statement), {"newest": newest or 0, "before": before}).rowcount
            for statement in PRUNING
        )


OLD = "p.id = {0}.plan_id AND {0}.plan_id <= :newest AND p.committed_at < :before"
PRUNING = (
    f"DELETE FROM detox_left_out o USING plans p WHERE {OLD.format('o')}",
    f"DELETE FROM detox_site_states t USING plans p WHERE {OLD.format('t')}",
    f"""DELETE FROM detox_history h USING plans p WHERE {OLD.format("h")} AND (
            h.decision IN ('{Decision.DELETE}', '{Decision.REOWNED}', '{Decision.LEFT_OUT}') OR EXISTS (
                SELECT FROM detox_history n JOIN plans q ON q.id = n.plan_id
                WHERE n.dataset_id = h.dataset_id AND n.site_id = h.site_id AND n.plan_id > h.plan_id
                  AND q.partition = p.partition))""",
)
