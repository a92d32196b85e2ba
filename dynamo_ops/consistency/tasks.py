"""The tasks of the DAG ``site_consistency``: settings in, small summaries out. No logic of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dynamo_ops.base.errors import GateError
from dynamo_ops.base.settings import Settings
from dynamo_ops.consistency import checks
from dynamo_ops.consistency.settings import SiteRules, load_settings
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.site.lookup import all_sites, find_sites
from dynamo_ops.storage.connect import site_storages

SETTINGS_FILE = "consistency.yaml"


def choose_sites(database: Database, patterns: Sequence[str]) -> list[str]:
    """Ready sites that match one of ``patterns`` (none given: all). Raises InventoryError for a pattern that matches
    none."""
    with database.begin() as connection:
        if not patterns:
            return [site.name for site in all_sites(connection) if site.status == "ready"]
        return [site.name for site in find_sites(connection, patterns, statuses=["ready"])]


def list_inventory(database: Database, settings: Settings, run_key: str, site: str) -> int:
    """Start the check of a site and list what the inventory expects there. Returns the check's id."""
    folder = hashlib.sha256(run_key.encode()).hexdigest()[:16]
    check_id = checks.start_check(database, run_key, site, Path(settings.files_at("consistency", folder, site)))
    checks.list_inventory(database, check_id)
    return check_id


def list_storage(database: Database, settings: Settings, check_id: int) -> None:
    """List what is on the storage."""
    checks.list_storage(database, check_id, site_storages(database, settings), _rules(database, settings, check_id))


def compare(database: Database, settings: Settings, check_id: int) -> dict[str, Any]:
    """Compare both lists and record the findings."""
    return asdict(checks.compare_lists(database, check_id, _rules(database, settings, check_id)))


def gate(database: Database, check_id: int) -> None:
    """Raises GateError when the breakers refused the check: too much differs to be true."""
    site, refused = _site(database, check_id)
    if refused:
        raise GateError(
            f"site consistency of {site} refused: {refused}. Nothing was deleted or transferred.",
            gate="site_consistency",
            site=site,
            failures=[refused],
        )


def repair(database: Database, settings: Settings, check_id: int) -> dict[str, Any]:
    """Delete orphans, wish for missing files again, clean unmanaged areas."""
    rules = _rules(database, settings, check_id)
    return asdict(
        checks.repair(
            database,
            check_id,
            site_storages(database, settings),
            repair_missing=rules.repair_missing,
            delete_orphans=rules.delete_orphans,
            clean_directories=rules.clean_directories,
        )
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


def _rules(database: Database, settings: Settings, check_id: int) -> SiteRules:
    return load_settings(settings.config_dir / SETTINGS_FILE).rules(_site(database, check_id)[0])


def _site(database: Database, check_id: int) -> tuple[str, str | None]:
    site, refused = database.frame(
        """
        SELECT s.name, c.refused_because FROM consistency_checks c JOIN sites s ON s.id = c.site_id WHERE c.id = $1""",
        (check_id,),
    ).row(0)
    return site, refused
