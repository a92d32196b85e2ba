"""One check of one site, one function a task: start_check → list_inventory → list_storage → compare_lists → gate →
``repair.repair``.

The row of the check is written first and tells at any time how far it is; its lists are folders below its
location.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import text

from dynamo_ops.base.errors import GateError, InventoryError, PermanentRemoteError, PlanError
from dynamo_ops.base.http.remote import GONE
from dynamo_ops.base.settings import Settings
from dynamo_ops.base.text import counts_text
from dynamo_ops.consistency.breakers import refusal
from dynamo_ops.consistency.clocks import database_clock
from dynamo_ops.consistency.compare import Comparison, compare
from dynamo_ops.consistency.freshness import ALL_MERGED, MetadataSources, knowledge
from dynamo_ops.consistency.inventory_list import INVENTORY_LIST, InventoryList, write_inventory_list
from dynamo_ops.consistency.matching.file_list import open_list
from dynamo_ops.consistency.previous import earlier_check, previous_findings, servers_lost
from dynamo_ops.consistency.settings import ConsistencySettings, SiteRules, load_settings
from dynamo_ops.consistency.storage_list import STORAGE_LIST, StorageList, read_clocks, write_storage_list
from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.inventory.checks import CheckState, FindingKind, FindingState
from dynamo_ops.inventory.kinds import SiteStatus
from dynamo_ops.inventory.site.downtime import Downtime, downtime_since
from dynamo_ops.inventory.site.lookup import KnownSite, all_sites, find_site, find_sites
from dynamo_ops.pause.pauses import PauseKind, look
from dynamo_ops.storage.protocol import TellsServers
from dynamo_ops.storage.registry import SiteStorage

SETTINGS_FILE = "consistency.yaml"


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CompareSummary:
    """Figures of one comparison. ``refused_because``: the breaker's sentence; None when it may be repaired.

    ``num_orphan``, ``num_unmanaged``: seen and found together; ``…_found``: those that would be deleted.
    ``num_unnamed``: files and directories on the storage that cannot be named; they stay. ``idle_ignores``: entries of
    ``ignore`` that left nothing out. ``kept_because``: why files that are too many on the storage stay however often
    they were seen.
    """

    check_id: int
    site: str
    num_expected: int
    num_stored: int
    num_missing_seen: int
    num_missing_found: int
    num_orphan: int
    num_orphan_found: int
    num_unmanaged: int
    num_unmanaged_found: int
    num_wrong_size: int
    bytes_missing: int
    bytes_orphan: int
    refused_because: str | None
    num_unnamed: int = 0
    kept_because: tuple[str, ...] = ()
    idle_ignores: tuple[str, ...] = ()


def choose_sites(database: Database, patterns: Sequence[str]) -> list[str]:
    """Ready sites that match one of ``patterns`` (none given: all) and are in no downtime. Raises InventoryError for a
    pattern that matches none, and for a site that is named and in a downtime."""
    look(database, PauseKind.CONSISTENCY)
    with database.begin() as connection:
        if patterns:
            sites = find_sites(connection, patterns, statuses=[SiteStatus.READY])
        else:
            sites = [site for site in all_sites(connection) if site.status == SiteStatus.READY]
        now = connection.execute(text("SELECT now()")).scalar_one()
        down = {site.name: downtime_since(connection, site.id, now) for site in sites}
    chosen = [site.name for site in sites if not _is_down(site, down[site.name], is_named=site.name in patterns)]
    log.info("%d sites are checked: %s", len(chosen), ", ".join(chosen))
    return chosen


def _is_down(site: KnownSite, downtime: Downtime | None, *, is_named: bool) -> bool:
    if downtime is None:
        return False
    if is_named:
        raise InventoryError(f"{site.name} is not checked: {downtime}", site=site.name)
    log.warning("%s is not checked: %s", site.name, downtime)
    return True


def check_folder(settings: Settings, run_key: str, site: str) -> Path:
    """Where the lists of a run's check of a site are kept."""
    return Path(settings.files_at("consistency", hashlib.sha256(run_key.encode()).hexdigest()[:16], site))


def known_settings(db: Database, settings: Settings) -> ConsistencySettings:
    """What ``consistency.yaml`` says. ``SettingsError`` names what in it is wrong, sites that there are not too."""
    with db.begin() as connection:
        names = [site.name for site in all_sites(connection)]
    return load_settings(settings.config_dir / SETTINGS_FILE, names)


def site_rules(db: Database, settings: Settings, check_id: int) -> SiteRules:
    """What ``consistency.yaml`` says of the site of the check."""
    return known_settings(db, settings).rules(_read(db, check_id).site)


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
    listed = write_inventory_list(db, check.site_id, _folder(check) / INVENTORY_LIST)
    with db.begin() as connection:
        connection.execute(
            text("""
            UPDATE consistency_checks SET inventory_read_at = :read_at, num_inventory_files = :number,
              storage_listed_at = NULL, num_storage_files = NULL, num_unnamed = NULL, servers = NULL WHERE id = :id"""),
            {"id": check_id, "read_at": listed.read_at, "number": listed.num_files},
        )
    return listed


def list_storage(db: Database, check_id: int, open_storage: SiteStorage, rules: SiteRules) -> StorageList:
    """List the storage; only after the inventory, and in no downtime (``PlanError`` otherwise).

    Where nothing of it is there, as when a mount is lost, or a data server of the last check is not, the check is
    refused: what the site has is no reason that other copies go, until a check passes (SEMANTICS §10).
    """
    check = _read(db, check_id)
    if check.inventory_read_at is None:
        raise PlanError(
            f"consistency check {check_id}: the inventory must be listed before the storage",
            plan_id=check_id,
            state=check.state,
        )
    _refuse_downtime(db, check)
    storage = open_storage(check.site_id)
    try:
        listed = write_storage_list(
            storage,
            rules.prefixes,
            _folder(check) / STORAGE_LIST,
            database_clock(db),
            rules.clock_tolerance,
        )
    except PermanentRemoteError as error:
        if error.facts["status"] in GONE:
            _refuse(db, check_id, error.message)
        raise
    finally:
        storage.close()
    is_told = isinstance(storage, TellsServers) and storage.least_data_servers > 0
    if not is_told and (lost := servers_lost(db, check_id, listed.servers)):
        because = (
            f"the last check listed {', '.join(lost)} too, and nothing is known of what is there now; "
            f"if that is for good, say how many servers there are (storages: root:{check.site}: servers)"
        )
        _refuse(db, check_id, because)
        raise PermanentRemoteError(f"site {check.site}: {because}", service="storage", site=check.site, status=None)
    with db.begin() as connection:
        connection.execute(
            text("""
            UPDATE consistency_checks
            SET storage_listed_at = :listed_at, num_storage_files = :number, num_unnamed = :num_unnamed,
              servers = nullif(CAST(:servers AS text[]), '{}')
            WHERE id = :id"""),
            {
                "id": check_id,
                "servers": list(listed.servers),
                "listed_at": listed.listed_at,
                "number": listed.num_files,
                "num_unnamed": listed.num_unnamed,
            },
        )
    return listed


def compare_lists(
    db: Database, check_id: int, rules: SiteRules, sources: MetadataSources = ALL_MERGED
) -> CompareSummary:
    """Compare, record every finding, and let the breakers decide: the check is ``compared`` or ``refused``.

    Run again before a repair it replaces its findings; after one it raises ``PlanError``, and for a check during which
    the site was in a downtime: it judges no file, and does not count as a check.
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
    _refuse_downtime(db, check)
    folder = _folder(check)
    comparison = compare(
        open_list(folder / INVENTORY_LIST),
        open_list(folder / STORAGE_LIST),
        previous_findings(db, check_id),
        rules,
        check.storage_listed_at,
        knowledge(db, sources),
        read_clocks(folder / STORAGE_LIST),
    )
    refused = refusal(comparison, rules, earlier_check(db, check_id, rules, comparison))
    _store(db, check_id, comparison, refused)
    summary = _summary(check, comparison, refused)
    log.info("check %d: %s", check_id, counts_text(asdict(summary)))
    for entry in summary.idle_ignores:
        log.warning("%s: %r of ignore in %s left nothing out", check.site, entry, SETTINGS_FILE)
    for reason in summary.kept_because:
        log.warning("%s: nothing is deleted that the inventory does not know: %s", check.site, reason)
    return summary


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


def _refuse_downtime(db: Database, check: Any) -> None:
    with db.begin() as connection:
        downtime = downtime_since(connection, check.site_id, check.inventory_read_at)
    if downtime:
        raise PlanError(
            f"consistency check {check.id} is void, nothing is judged: {downtime}. Run it anew after that",
            plan_id=check.id,
            state=check.state,
        )


def _refuse(db: Database, check_id: int, reason: str) -> None:
    """The check has come to nothing, and may be run again."""
    with db.begin() as connection:
        connection.execute(
            text(f"""
            UPDATE consistency_checks SET state = '{CheckState.REFUSED}', refused_because = :reason,
              finished_at = now() WHERE id = :id"""),
            {"id": check_id, "reason": reason},
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
                "state": (CheckState.REFUSED if refused else CheckState.COMPARED).value,
                "refused": refused,
                "now": datetime.now(UTC) if refused else None,
            },
        )


def _read(db: Database, check_id: int) -> Any:
    with db.begin() as connection:
        row = connection.execute(
            text("""
            SELECT c.id, c.site_id, s.name AS site, c.state, c.location, c.inventory_read_at, c.storage_listed_at,
                   c.refused_because, c.num_unnamed
            FROM consistency_checks c JOIN sites s ON s.id = c.site_id WHERE c.id = :id"""),
            {"id": check_id},
        ).one_or_none()
    if row is None:
        raise InventoryError(f"there is no consistency check {check_id}", check_id=check_id)
    return row


def _folder(check: Any) -> Path:
    """Where its lists are. ``PlanError`` once they have gone."""
    if check.location is None:
        raise PlanError(
            f"consistency check {check.id} is long over, and its lists are gone (keep.lists_days): run a new one",
            plan_id=check.id,
            state=check.state,
        )
    return Path(check.location)


def _summary(check: Any, comparison: Comparison, refused: str | None) -> CompareSummary:
    findings = comparison.findings
    number: dict[tuple[str, str], int] = {
        (kind, state): number for kind, state, number in findings.group_by("kind", "state").len().iter_rows()
    }
    size: dict[str, int] = dict(findings.group_by("kind").agg(pl.col("size_bytes").sum()).iter_rows())

    def found(kind: FindingKind) -> int:
        return number.get((kind.value, FindingState.FOUND.value), 0)

    def seen(kind: FindingKind) -> int:
        return number.get((kind.value, FindingState.SEEN.value), 0)

    return CompareSummary(
        check_id=check.id,
        site=check.site,
        num_expected=comparison.num_expected,
        num_stored=comparison.num_stored,
        num_missing_seen=seen(FindingKind.MISSING),
        num_missing_found=found(FindingKind.MISSING),
        num_orphan=seen(FindingKind.ORPHAN) + found(FindingKind.ORPHAN),
        num_orphan_found=found(FindingKind.ORPHAN),
        num_unmanaged=seen(FindingKind.UNMANAGED) + found(FindingKind.UNMANAGED),
        num_unmanaged_found=found(FindingKind.UNMANAGED),
        num_wrong_size=seen(FindingKind.WRONG_SIZE) + found(FindingKind.WRONG_SIZE),
        bytes_missing=size.get(FindingKind.MISSING.value, 0),
        bytes_orphan=size.get(FindingKind.ORPHAN.value, 0),
        refused_because=refused,
        num_unnamed=check.num_unnamed or 0,
        kept_because=comparison.kept_because,
        idle_ignores=comparison.idle_ignores,
    )
