"""What earlier checks of the same site saw: which findings are seen again, and from what its lists may have shrunk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from sqlalchemy import text

from dynamo_ops.consistency.breakers import Earlier
from dynamo_ops.consistency.compare import Comparison
from dynamo_ops.consistency.inventory_list import INVENTORY_LIST
from dynamo_ops.consistency.matching.file_list import open_list
from dynamo_ops.consistency.settings import SiteRules
from dynamo_ops.consistency.storage_list import STORAGE_LIST
from dynamo_ops.consistency.tally import ListSizes, list_sizes
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.checks import (
    COMPARED_CHECKS,
    DOUBTS,
    JUDGED_CHECKS,
    UNKNOWN_TO_INVENTORY,
    FindingState,
)
from dynamo_ops.inventory.states import DONE_DELETIONS, DeletionState


def previous_findings(db: Database, check_id: int) -> pl.DataFrame:
    """``kind``, ``lfn`` and ``size_bytes`` of the findings of the last check of the same site that came to a
    comparison; none before the first. Of what the inventory does not know not what was held back, on stale metadata for
    instance: that is no sight. A file that was deleted then, and is there again, is another file."""
    return db.frame(
        f"""
        SELECT finding.kind, finding.lfn, finding.size_bytes FROM consistency_findings AS finding
        WHERE NOT (finding.kind IN {UNKNOWN_TO_INVENTORY} AND (finding.state = '{FindingState.REPAIRED}'
                   OR finding.state = '{FindingState.SEEN}' AND finding.reason IS NOT NULL))
          AND finding.check_id = (
            SELECT previous.id
            FROM consistency_checks AS current JOIN consistency_checks AS previous
              ON previous.site_id = current.site_id AND previous.id <> current.id
            WHERE current.id = $1 AND previous.state IN {COMPARED_CHECKS}
              AND previous.storage_listed_at < current.inventory_read_at
            ORDER BY previous.storage_listed_at DESC LIMIT 1)""",
        [check_id],
    )


def earlier_check(db: Database, check_id: int, rules: SiteRules, comparison: Comparison) -> Earlier | None:
    """The last check of the same site that was not refused, and how long its lists are by today's rules; None before
    the first. One whose lists are gone is told by the numbers of its row."""
    found = db.frame(_EARLIER, [check_id])
    if found.is_empty():
        return None
    earlier = found.row(0, named=True)
    deleted = ListSizes(earlier["num_left_inventory"], earlier["num_left_storage"])
    folder = Path(earlier["location"] or "")
    if (folder / INVENTORY_LIST).exists() and (folder / STORAGE_LIST).exists():
        before = list_sizes(open_list(folder / INVENTORY_LIST), open_list(folder / STORAGE_LIST), rules)
        now = ListSizes(comparison.num_expected, comparison.num_managed)
    else:
        before = ListSizes(earlier["num_inventory_files"], earlier["num_storage_files"])
        now = ListSizes(earlier["num_inventory_files_now"], earlier["num_storage_files_now"])
    return Earlier(earlier["storage_listed_at"], before, now, deleted)


def servers_lost(db: Database, check_id: int, servers: Sequence[str]) -> list[str]:
    """Which data servers the last check of the same site listed that was not refused, and that are not among these."""
    with db.begin() as connection:
        return list(connection.execute(text(_SERVERS_LOST), {"id": check_id, "servers": list(servers)}).scalars())


_SERVERS_LOST = f"""
    SELECT server FROM consistency_checks AS current, LATERAL (
        SELECT previous.servers FROM consistency_checks AS previous
        WHERE previous.site_id = current.site_id AND previous.id <> current.id AND previous.state IN {JUDGED_CHECKS}
          AND previous.storage_listed_at < current.inventory_read_at
        ORDER BY previous.storage_listed_at DESC LIMIT 1) AS earlier, unnest(earlier.servers) AS server
    WHERE current.id = :id AND NOT server = ANY(CAST(:servers AS text[])) ORDER BY server"""


# What leaves the inventory: files deleted, or told to be copied again. What leaves the storage: only what it said it
# deleted; "not there any more" explains nothing.
_EARLIER = f"""
    WITH current AS (SELECT * FROM consistency_checks WHERE id = $1),
    earlier AS (
      SELECT previous.* FROM current JOIN consistency_checks AS previous
        ON previous.site_id = current.site_id AND previous.id <> current.id
      WHERE previous.state IN {JUDGED_CHECKS} AND previous.storage_listed_at < current.inventory_read_at
      ORDER BY previous.storage_listed_at DESC LIMIT 1),
    deleted AS (
      SELECT count(*) AS num_gone, count(*) FILTER (WHERE deletion.state = '{DeletionState.DONE}') AS num_done
      FROM earlier JOIN deletions AS deletion ON deletion.finished_at >= earlier.inventory_read_at
        JOIN subscriptions AS subscription ON subscription.id = deletion.subscription_id
          AND subscription.site_id = earlier.site_id
      WHERE deletion.state IN {DONE_DELETIONS}),
    repaired AS (
      SELECT count(*) FILTER (WHERE finding.kind IN {DOUBTS}) AS num_again,
             count(*) FILTER (WHERE finding.kind IN {UNKNOWN_TO_INVENTORY}) AS num_loose
      FROM earlier JOIN consistency_checks AS since
        ON since.site_id = earlier.site_id AND since.storage_listed_at >= earlier.storage_listed_at
        JOIN consistency_findings AS finding ON finding.check_id = since.id
      WHERE finding.state = '{FindingState.REPAIRED}')
    SELECT earlier.storage_listed_at, earlier.location,
           coalesce(earlier.num_inventory_files, 0) AS num_inventory_files,
           coalesce(earlier.num_storage_files, 0) AS num_storage_files,
           coalesce(current.num_inventory_files, 0) AS num_inventory_files_now,
           coalesce(current.num_storage_files, 0) AS num_storage_files_now,
           deleted.num_gone + repaired.num_again AS num_left_inventory,
           deleted.num_done + repaired.num_loose AS num_left_storage
    FROM current CROSS JOIN earlier CROSS JOIN deleted CROSS JOIN repaired"""
