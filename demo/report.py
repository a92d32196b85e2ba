"""What the demo did, in figures read from the inventory."""

from __future__ import annotations

import polars as pl
from rich.console import Console
from rich.table import Table

from dynamo_ops.cli.terminal.cells import size
from dynamo_ops.database.connection import Database
from dynamo_ops.plan import store as plan_store

OCCUPANCY_SQL = """
    SELECT s.name AS site, s.storage_type, s.status, q.partition, q.quota_bytes, (
        SELECT coalesce(sum(r.size_bytes), 0)::bigint FROM block_replicas r JOIN groups g ON g.id = r.group_id
        WHERE r.site_id = s.id AND g.name = q.partition) AS used_bytes
    FROM quotas q JOIN sites s ON s.id = q.site_id WHERE s.storage_type = 'disk' ORDER BY s.name, q.partition
"""
COPIED_SQL = """
    SELECT src.name AS "from", dst.name AS "to", b.is_staging AS staged_from_tape, count(*) AS files,
           sum(t.size_bytes)::bigint AS size_bytes
    FROM transfers t JOIN transfer_batches b ON b.id = t.batch_id JOIN sites src ON src.id = t.source_site_id
    JOIN sites dst ON dst.id = b.site_id WHERE t.state = 'done' GROUP BY 1, 2, 3 ORDER BY 1, 2
"""
DELETED_SQL = """
    SELECT s.name AS site, d.state, count(*) AS files, sum(d.size_bytes)::bigint AS size_bytes
    FROM deletions d JOIN deletion_batches b ON b.id = d.batch_id JOIN sites s ON s.id = b.site_id GROUP BY 1, 2 ORDER
    BY 1, 2
"""
LAST_COPIES_SQL = """
    SELECT s.name AS site, d.name AS dataset, count(*) AS blocks, sum(b.num_files)::bigint AS files,
           sum(r.size_bytes)::bigint AS size_bytes
    FROM block_replicas r JOIN sites s ON s.id = r.site_id JOIN blocks b ON b.id = r.block_id
    JOIN datasets d ON d.id = r.dataset_id
    WHERE s.status = 'morgue' AND d.status IN ('valid', 'production') AND NOT EXISTS (
        SELECT FROM block_replicas o JOIN sites t ON t.id = o.site_id
        WHERE o.block_id = r.block_id AND t.status = 'ready' AND o.is_complete)
    GROUP BY 1, 2 ORDER BY 1, 2
"""
REQUESTS_SQL = """
    SELECT r.id, r.kind, string_agg(DISTINCT d.name, ' ') AS dataset, array_to_string(r.sites, ' ') AS sites, r.state,
           coalesce(r.closed_because, '') AS because
    FROM requests r JOIN request_items i ON i.request_id = r.id JOIN datasets d ON d.id = i.dataset_id
    GROUP BY r.id ORDER BY r.id
"""
CONSISTENCY_SQL = """
    SELECT s.name AS site, f.kind, f.state, count(*) AS files, sum(f.size_bytes)::bigint AS size_bytes
    FROM consistency_findings f JOIN consistency_checks c ON c.id = f.check_id JOIN sites s ON s.id = c.site_id
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


def occupancy(database: Database) -> pl.DataFrame:
    """Per disk site and partition: quota and bytes on disk."""
    return database.frame(OCCUPANCY_SQL)


def last_copies(database: Database) -> pl.DataFrame:
    """Per site in the morgue and valid dataset: blocks of which no ready site has a complete replica."""
    return database.frame(LAST_COPIES_SQL)


def show_last_copies(before: pl.DataFrame, after: pl.DataFrame) -> None:
    """Print what only sites in the morgue had, and what only they have now."""
    _print("Last copies at sites in the morgue, before", before)
    _print("Last copies at sites in the morgue, after", after)


def show_report(database: Database, before: pl.DataFrame) -> None:
    """Print what changed since ``before``, and what was done."""
    _print("Occupancy", _occupancy_rows(before, occupancy(database)))
    _print("Deleted by Detox, by policy line", _policy_lines(database))
    _print("Copied", database.frame(COPIED_SQL))
    _print("Deleted at the storages", database.frame(DELETED_SQL))
    _print("Consistency", database.frame(CONSISTENCY_SQL))
    _print("Copied by the Dealer, by plugin", _plugins(database))
    _print("Requests", database.frame(REQUESTS_SQL))


def _occupancy_rows(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    share = pl.when(pl.col("quota_bytes") > 0).then(pl.col("used_bytes") / pl.col("quota_bytes"))
    joined = before.with_columns(before=share).join(
        after.with_columns(after=share).select("site", "partition", "after", used_after_bytes="used_bytes"),
        on=["site", "partition"],
    )
    return joined.select(
        "site",
        "status",
        "partition",
        "quota_bytes",
        used_before_bytes="used_bytes",
        before=_percent("before"),
        used_after_bytes="used_after_bytes",
        after=_percent("after"),
    )


def _percent(name: str) -> pl.Expr:
    return pl.format("{} %", (pl.col(name) * 100).round(1)).fill_null("-")


def _policy_lines(database: Database) -> pl.DataFrame:
    """One row per (plan, policy line) that deleted something."""
    rows = []
    plans = database.frame("SELECT id, partition FROM plans WHERE kind = 'detox' AND state = 'committed' ORDER BY id")
    for plan_id, partition in plans.iter_rows():
        plan = plan_store.load(database, plan_id)
        decisions = plan.frame("decisions").filter(pl.col("decision") == "delete")
        lines = decisions.group_by("line").agg(block_replicas=pl.len(), size_bytes=pl.col("size_bytes").sum())
        named = lines.join(plan.frame("policy_lines"), on="line", how="left").sort("line")
        rows.append(
            named.select(
                plan=pl.lit(plan_id),
                partition=pl.lit(partition),
                line="line",
                policy_line="text",
                block_replicas="block_replicas",
                size_bytes="size_bytes",
            )
        )
    return pl.concat(rows) if rows else pl.DataFrame()


def _plugins(database: Database) -> pl.DataFrame:
    """One row per (plan, plugin) whose copies were made."""
    rows = []
    plans = database.frame("SELECT id, partition FROM plans WHERE kind = 'dealer' AND state = 'committed' ORDER BY id")
    for plan_id, partition in plans.iter_rows():
        copies = plan_store.load(database, plan_id).frame("copies")
        found = copies.group_by("plugin").agg(copies=pl.col("copy").n_unique(), size_bytes=pl.col("size_bytes").sum())
        of_plan = found.sort("plugin").with_columns(plan=pl.lit(plan_id), partition=pl.lit(partition))
        rows.append(of_plan.select("plan", "partition", "plugin", "copies", "size_bytes"))
    return pl.concat(rows) if rows else pl.DataFrame()


def _print(title: str, frame: pl.DataFrame) -> None:
    table = Table(title=title, title_justify="left")
    for name, kind in frame.schema.items():
        table.add_column(
            name.removesuffix("_bytes").replace("_", " "), justify="right" if kind.is_numeric() else "left"
        )
    for row in frame.iter_rows(named=True):
        table.add_row(*(size(value) if name.endswith("_bytes") else str(value) for name, value in row.items()))
    console = Console(width=150, soft_wrap=True)
    console.print(table if frame.height else f"{title}: none")
