"""The inventory's list for one site, one SELECT streamed to a list: every file that could rightly be there.

``is_present``: the inventory says it is there. ``is_pending``: its block has a subscription at the site, is incomplete
there, or is due there since its dataset grows there; such files count neither as missing nor as orphans.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from dynamo_ops.base.spans import span
from dynamo_ops.consistency.clocks import database_clock
from dynamo_ops.consistency.matching.writer import ListWriter
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.replica.copies import is_present_by_join, listed_join
from dynamo_ops.inventory.states import ACTIVE

INVENTORY_LIST = "inventory.parquet"
"""Its name in the folder of a check."""
INVENTORY_FILES = {
    "file_id": pl.Int64,
    "lfn": pl.String,
    "size_bytes": pl.Int64,
    "is_present": pl.Boolean,
    "is_pending": pl.Boolean,
}
LIST_SQL = f"""
    WITH subscribed AS (
      SELECT DISTINCT f.block_id FROM subscriptions s JOIN files f ON f.id = s.file_id
      WHERE s.site_id = $1 AND s.state IN {ACTIVE}),
    due AS (
      SELECT b.id AS block_id FROM dataset_replicas d JOIN blocks b ON b.dataset_id = d.dataset_id
      WHERE d.site_id = $1 AND d.is_growing),
    here AS (
      SELECT block_id, site_id, is_complete FROM block_replicas WHERE site_id = $1),
    concerned AS (
      SELECT block_id FROM here UNION SELECT block_id FROM subscribed UNION SELECT block_id FROM due)
    SELECT f.id AS file_id, f.lfn, f.size_bytes,
           coalesce({is_present_by_join("h", "p")}, false) AS is_present,
           (w.block_id IS NOT NULL OR h.is_complete IS NOT TRUE) AS is_pending
    FROM concerned c JOIN files f ON f.block_id = c.block_id
    LEFT JOIN here h ON h.block_id = c.block_id
    LEFT JOIN subscribed w ON w.block_id = c.block_id
    {listed_join("f.id", "h", "p")}
"""


@dataclass(frozen=True)
class InventoryList:
    """A list that was written. ``read_at``: before the first row was read. ``num_files``: should be there."""

    path: Path
    num_files: int
    read_at: datetime


@span("consistency.list_inventory")
def write_inventory_list(db: Database, site_id: int, path: Path) -> InventoryList:
    """Write the list of a site to ``path``, without holding it in memory. Columns: ``INVENTORY_FILES``."""
    import pyarrow as pa  # slow to import, and most tasks of a check write no list

    read_at = database_clock(db)
    path.parent.mkdir(parents=True, exist_ok=True)
    num_files = 0
    with (
        db.snapshot() as snapshot,
        snapshot.stream(LIST_SQL, [site_id]) as rows,
        ListWriter(path, INVENTORY_FILES) as writer,
    ):
        for batch in pa.RecordBatchReader.from_stream(rows):
            lines = pl.DataFrame(pa.Table.from_batches([batch]))
            writer.write(lines)
            num_files += int(lines["is_present"].sum())
    return InventoryList(path, num_files, read_at)
