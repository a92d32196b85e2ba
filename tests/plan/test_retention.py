"""The files of plans that are over go; plans stay, and so do files that may still be asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from dynamo_ops.base.errors import PlanError
from dynamo_ops.plan.retention import remove_files
from dynamo_ops.plan.store import load
from tests.inventory.factory import Inventory

NOW = datetime(2026, 3, 1, tzinfo=UTC)
YEAR_AGO = NOW - timedelta(days=366)


def stored(inventory: Inventory, home: Path, days_ago: float, state: str, location: Path | None = None) -> int:
    folder = location or home / "detox" / "p" / uuid4().hex
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "decisions.parquet").write_bytes(b"rows")
    at = NOW - timedelta(days=days_ago)
    plan_id: int = inventory.scalar(
        """WITH version AS (
             INSERT INTO policy_versions (kind, partition, sha256, text) VALUES ('detox', 'p', :run, '') RETURNING id)
           INSERT INTO plans (kind, partition, run_key, state, policy_version_id, location, summary, planned_for_at,
                              created_at, committed_at)
           SELECT 'detox', 'p', :run, :state, id, :location, '{}', :at, :at, :committed FROM version RETURNING id""",
        run=str(days_ago),
        state=state,
        location=str(folder),
        at=at,
        committed=at if state == "committed" else None,
    )
    return plan_id


def has_files(inventory: Inventory, plan_id: int) -> bool:
    return Path(load(inventory.db, plan_id).location).exists()


def test_old_files_go_unless_they_may_be_asked_for(inventory: Inventory, tmp_path: Path) -> None:
    inventory.site("T2_A")
    gone = [stored(inventory, tmp_path, days, state) for days, state in ((900, "committed"), (880, "refused"))]
    open_deletions = stored(inventory, tmp_path, 800, "committed")
    (lfn,) = inventory.block("b1", contents={"/store/f": b"data"})
    inventory.subscription("delete", [lfn], "T2_A")
    inventory.rows("UPDATE subscriptions SET plan_id = :plan", plan=open_deletions)
    waits = [stored(inventory, tmp_path, days, state) for days, state in ((700, "planned"), (690, "approved"))]
    last = stored(inventory, tmp_path, 600, "committed")
    young = stored(inventory, tmp_path, 10, "refused")
    assert remove_files(inventory.db, before=YEAR_AGO) == len(gone)
    assert [plan for plan in (*gone, open_deletions, *waits, last, young) if not has_files(inventory, plan)] == gone
    assert remove_files(inventory.db, before=YEAR_AGO) == 0
    assert load(inventory.db, gone[0]).state == "committed"


def test_files_that_are_gone_already_are_no_fault(inventory: Inventory, tmp_path: Path) -> None:
    plan = stored(inventory, tmp_path, 900, "refused")
    folder = Path(load(inventory.db, plan).location)
    (folder / "decisions.parquet").unlink()
    folder.rmdir()
    assert remove_files(inventory.db, before=YEAR_AGO) == 1


@pytest.mark.parametrize("name", ["", "detox", "detox/p", "detox/p/plans"])
def test_what_is_no_folder_of_one_plan_is_not_touched(inventory: Inventory, tmp_path: Path, name: str) -> None:
    stored(inventory, tmp_path, 900, "refused", tmp_path / name)
    with pytest.raises(PlanError, match="is no folder of one plan; its files are not removed"):
        remove_files(inventory.db, before=YEAR_AGO)
    assert (tmp_path / name / "decisions.parquet").exists()
