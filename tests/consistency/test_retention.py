"""Checks that are long over go, with findings and lists; what something rests on stays however old it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from dynamo_ops.base.errors import PlanError
from dynamo_ops.consistency import retention
from dynamo_ops.consistency.retention import forget_checks, remove_lists
from dynamo_ops.consistency.tasks import list_inventory
from tests.inventory.factory import Inventory

NOW = datetime(2026, 3, 1, tzinfo=UTC)
YEAR_AGO = NOW - timedelta(days=366)


def performed(
    inventory: Inventory,
    site: str,
    days_ago: float,
    state: str,
    folder: Path | None = None,
    finding: Mapping[str, Any] = MappingProxyType({"state": "repaired", "claimed": None}),
) -> int:
    """A check with three findings of an orphan each, and lists in a folder."""
    at = NOW - timedelta(days=days_ago)
    check_id: int = inventory.scalar(
        """INSERT INTO consistency_checks (run_key, site_id, state, location, started_at, storage_listed_at)
           VALUES (:run, :site, :state, :location, :at, :listed) RETURNING id""",
        run=f"{days_ago}",
        site=inventory.site_ids[site],
        state=state,
        location=str(folder) if folder else None,
        at=at,
        listed=None if state == "started" else at,
    )
    for n in range(3):
        inventory.rows(
            """INSERT INTO consistency_findings (check_id, kind, state, lfn, size_bytes, claimed_at)
               VALUES (:check, 'orphan', :state, :lfn, 1, :claimed)""",
            **{"check": check_id, "lfn": f"/store/f{n}", **finding},
        )
    if folder:
        folder.mkdir(parents=True)
        for name in ("inventory.parquet", "storage.parquet"):
            (folder / name).write_bytes(b"list")
    return check_id


def left(inventory: Inventory) -> set[int]:
    checks = {row[0] for row in inventory.rows("SELECT id FROM consistency_checks")}
    assert {row[0] for row in inventory.rows("SELECT DISTINCT check_id FROM consistency_findings")} == checks
    return checks


def test_what_is_old_goes_unless_something_rests_on_it(inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "FINDINGS_PER_CHUNK", 2)
    for site in ("T2_A", "T2_B"):
        inventory.site(site)
    gone = [performed(inventory, "T2_A", days, state) for days, state in ((900, "repaired"), (800, "refused"))]
    gone.append(performed(inventory, "T2_A", 700, "started"))
    claimed = {"state": "found", "claimed": NOW - timedelta(days=600)}
    broken_off = performed(inventory, "T2_A", 600, "compared", finding=claimed)
    newest = {performed(inventory, "T2_A", 500, "compared"), performed(inventory, "T2_A", 450, "repaired")}
    refused_since = performed(inventory, "T2_A", 400, "refused")
    never_passed = performed(inventory, "T2_B", 900, "refused")
    young = performed(inventory, "T2_B", 10, "refused")
    assert forget_checks(inventory.db, before=YEAR_AGO) == len(gone)
    assert left(inventory) == {broken_off, *newest, refused_since, never_passed, young}
    assert forget_checks(inventory.db, before=YEAR_AGO) == 0


def test_a_kill_on_the_way_is_made_good(inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory.site("T2_A")
    performed(inventory, "T2_A", 900, "repaired")
    newest = {performed(inventory, "T2_A", days, "repaired") for days in (500, 450)}
    monkeypatch.setattr(retention, "FINDINGS_PER_CHUNK", 1)
    forget = retention._forget_findings
    monkeypatch.setattr(retention, "_forget_findings", lambda db, check: forget(db, check) and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        forget_checks(inventory.db, before=YEAR_AGO)
    assert inventory.scalar("SELECT count(*) FROM consistency_findings") == 8
    monkeypatch.setattr(retention, "_forget_findings", forget)
    assert forget_checks(inventory.db, before=YEAR_AGO) == 1
    assert left(inventory) == newest


def test_lists_go_and_nothing_else_of_their_folders(inventory: Inventory, tmp_path: Path) -> None:
    inventory.site("T2_A")
    old, shared, newest = tmp_path / "old" / "T2_A", tmp_path / "shared" / "T2_A", tmp_path / "new" / "T2_A"
    before = tmp_path / "before" / "T2_A"
    for days, folder in ((90, old), (80, shared), (75, before), (70, newest)):
        performed(inventory, "T2_A", days, "repaired", folder)
    (shared / "notes.txt").write_text("somebody's")
    assert remove_lists(inventory.db, before=NOW - timedelta(days=60)) == 2
    assert not old.parent.exists()
    assert [path.name for path in shared.iterdir()] == ["notes.txt"]
    assert len(list(newest.iterdir())) == len(list(before.iterdir())) == 2
    assert inventory.scalar("SELECT count(*) FROM consistency_checks WHERE location IS NULL") == 2
    assert remove_lists(inventory.db, before=NOW - timedelta(days=60)) == 0
    oldest = inventory.scalar("SELECT min(id) FROM consistency_checks")
    with pytest.raises(PlanError, match="is long over, and its lists are gone"):
        list_inventory(inventory.db, oldest)
