"""One check of one site, one function a task: start_check → list_inventory → list_storage → compare_lists → gate →
``repair.repair``.

The row of the check is written first and tells at any time how far it is; its lists are Parquet files below its
location.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import text

from dynamo_ops.base.errors import GateError, InventoryError, PlanError
from dynamo_ops.base.settings import Settings
from dynamo_ops.consistency.breakers import refusal
from dynamo_ops.consistency.compare import Comparison, compare
from dynamo_ops.consistency.inventory_list import InventoryList, write_inventory_list
from dynamo_ops.consistency.settings import SiteRules, load_settings
from dynamo_ops.consistency.storage_list import StorageList, read_list, write_storage_list
from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.inventory.checks import COMPARED_CHECKS, DOUBTS, CheckState
from dynamo_ops.inventory.kinds import SiteStatus
from dynamo_ops.inventory.site.lookup import all_sites, find_site, find_sites
from dynamo_ops.storage.registry import SiteStorage

SETTINGS_FILE = "consistency.yaml"


@dataclass(frozen=True)
class CompareSummary:
    """Figures of one comparison. ``refused_because``: the breaker's sentence; None when it may be repaired."""

    check_id: int
    site: str
    num_expected: int
    num_stored: int
    num_missing_seen: int
    num_missing_found: int
    num_orphan: int
    num_unmanaged: int
    num_wrong_size: int
    bytes_missing: int
    bytes_orphan: int
    refused_because: str | None


def choose_sites(database: Database, patterns: Sequence[str]) -> list[str]:
    """Ready sites that match one of ``patterns`` (none given: all). Raises InventoryError for a pattern that matches
    none."""
    with database.begin() as connection:
        if not patterns:
            return [site.name for site in all_sites(connection) if site.status == SiteStatus.READY]
        return [site.name for site in find_sites(connection, patterns, statuses=[SiteStatus.READY])]


def check_folder(settings: Settings, run_key: str, site: str) -> Path:
    """Where the lists of a run's check of a site are kept."""
    return Path(settings.files_at("consistency", hashlib.sha256(run_key.encode()).hexdigest()[:16], site))


def site_rules(db: Database, settings: Settings, check_id: int) -> SiteRules:
    """What ``consistency.yaml`` says of the site of the check."""
    return load_settings(settings.config_dir / SETTINGS_FILE).rules(_read(db, check_id).site)


def start_check(db: Database, run_key: str, site: str, location: Path) -> int:
    """The id of the check of ``site`` in the run ``run_key``: made now, or found if it was started before."""
    with db.begin() as connection:
        site_id = find_site(connection, site).id
        return int(
            connection.execute(
                text("""
            INSERT INTO consistency_checks (run_key, site_id, location) VALUES (:run, :site, :location)
            ON CONFLICT (run_key, site_id) DO UPDATE SET location = excluded.location RETURNING id"""),
                {"run": run_key, "site": site_id, "location": str(location)},
            ).scalar_one()
        )


def list_inventory(db: Database, check_id: int) -> InventoryList:
    """Write what the inventory expects at the site. A storage list made before is void: the inventory comes first."""
    check = _read(db, check_id)
    listed = write_inventory_list(db, check.site_id, Path(check.location) / "inventory.parquet")
    with db.begin() as connection:
        connection.execute(
            text("""
            UPDATE consistency_checks SET inventory_read_at = :read_at, num_inventory_files = :number,
              storage_listed_at = NULL, num_storage_files = NULL WHERE id = :id"""),
            {"id": check_id, "read_at": listed.read_at, "number": listed.num_files},
        )
    return listed


def list_storage(db: Database, check_id: int, open_storage: SiteStorage, rules: SiteRules) -> StorageList:
    """List the storage; only after the inventory (``PlanError`` otherwise)."""
    check = _read(db, check_id)
    if check.inventory_read_at is None:
        raise PlanError(
            f"consistency check {check_id}: the inventory must be listed before the storage",
            plan_id=check_id,
            state=check.state,
        )
    storage = open_storage(check.site_id)
    try:
        listed = write_storage_list(storage, rules.prefixes, Path(check.location) / "storage.parquet")
    finally:
        storage.close()
    with db.begin() as connection:
        connection.execute(
            text("""
            UPDATE consistency_checks SET storage_listed_at = :listed_at, num_storage_files = :number
            WHERE id = :id"""),
            {"id": check_id, "listed_at": listed.listed_at, "number": listed.num_files},
        )
    return listed


def compare_lists(db: Database, check_id: int, rules: SiteRules) -> CompareSummary:
    """Compare, record every finding, and let the breakers decide: the check is ``compared`` or ``refused``.

    Run again before a repair it replaces its findings; after one it raises ``PlanError``.
    """
    check = _read(db, check_id)
    if (
        check.state == CheckState.REPAIRED
        or check.storage_listed_at is None
        or check.inventory_read_at > check.storage_listed_at
    ):
        raise PlanError(
            f"consistency check {check_id} ({check.state}) cannot be compared: it needs both lists, the "
            "inventory's first, and no repair yet",
            plan_id=check_id,
            state=check.state,
        )
    folder = Path(check.location)
    comparison = compare(
        read_list(folder / "inventory.parquet"),
        read_list(folder / "storage.parquet"),
        previous_findings(db, check_id),
        rules,
        check.storage_listed_at,
    )
    refused = refusal(comparison, rules)
    _store(db, check_id, comparison, refused)
    return _summary(check, comparison, refused)


def gate(database: Database, check_id: int) -> None:
    """Raises GateError when the breakers refused the check: too much differs to be true."""
    check = _read(database, check_id)
    if check.refused_because:
        raise GateError(
            f"site consistency of {check.site} refused: {check.refused_because}. Nothing was deleted or transferred.",
            gate="site_consistency",
            site=check.site,
            failures=[check.refused_because],
        )


def summarise(database: Database, run_key: str) -> dict[str, Any]:
    """Findings of the run by kind and state."""
    rows = database.frame(
        """
        SELECT f.kind || ' ' || f.state AS what, count(*) AS number FROM consistency_findings f
        JOIN consistency_checks c ON c.id = f.check_id WHERE c.run_key = $1 GROUP BY 1 ORDER BY 1""",
        (run_key,),
    )
    return dict(rows.iter_rows())


def previous_findings(db: Database, check_id: int) -> pl.DataFrame:
    """``kind`` and ``lfn`` of what was missing or of a wrong size in the last check of the same site that came to a
    comparison; none before the first."""
    return db.frame(
        f"""
        SELECT x.kind, x.lfn FROM consistency_findings x WHERE x.kind IN {DOUBTS} AND x.check_id = (
          SELECT p.id FROM consistency_checks c JOIN consistency_checks p ON p.site_id = c.site_id
          WHERE c.id = $1 AND p.id <> c.id AND p.state IN {COMPARED_CHECKS}
            AND p.storage_listed_at < c.inventory_read_at
          ORDER BY p.storage_listed_at DESC LIMIT 1)""",
        [check_id],
    )


def _store(db: Database, check_id: int, comparison: Comparison, refused: str | None) -> None:
    with db.begin() as connection:
        connection.execute(text("DELETE FROM consistency_findings WHERE check_id = :id"), {"id": check_id})
        insert_frame(
            connection,
            "consistency_findings",
            comparison.findings.with_columns(check_id=pl.lit(check_id, dtype=pl.Int64)),
        )
        connection.execute(
            text("""
            UPDATE consistency_checks SET state = :state, refused_because = :refused, finished_at = :now
            WHERE id = :id"""),
            {
                "id": check_id,
                "state": "refused" if refused else "compared",
                "refused": refused,
                "now": datetime.now(UTC) if refused else None,
            },
        )


def _read(db: Database, check_id: int) -> Any:
    with db.begin() as connection:
        row = connection.execute(
            text("""
            SELECT c.id, c.site_id, s.name AS site, c.state, c.location, c.inventory_read_at, c.storage_listed_at,
                   c.refused_because FROM consistency_checks c JOIN sites s ON s.id = c.site_id WHERE c.id = :id"""),
            {"id": check_id},
        ).one_or_none()
    if row is None:
        raise InventoryError(f"there is no consistency check {check_id}", check_id=check_id)
    return row


def _summary(check: Any, comparison: Comparison, refused: str | None) -> CompareSummary:
    counts = {
        (kind, state): (number, size)
        for kind, state, number, size in comparison.findings.group_by("kind", "state")
        .agg(pl.len(), pl.col("size_bytes").sum().alias("bytes"))
        .iter_rows()
    }

    def of(kind: str, state: str) -> tuple[int, int]:
        return counts.get((kind, state), (0, 0))

    return CompareSummary(
        check_id=check.id,
        site=check.site,
        num_expected=comparison.num_expected,
        num_stored=comparison.num_stored,
        num_missing_seen=of("missing", "seen")[0],
        num_missing_found=of("missing", "found")[0],
        num_orphan=of("orphan", "found")[0],
        num_unmanaged=of("unmanaged", "found")[0],
        num_wrong_size=of("wrong_size", "seen")[0] + of("wrong_size", "found")[0],
        bytes_missing=of("missing", "seen")[1] + of("missing", "found")[1],
        bytes_orphan=of("orphan", "found")[1],
        refused_because=refused,
    )
