"""How a repair gets at its findings: the next ones, whatever number of them is done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from dynamo_ops.consistency import repair as repair_module
from dynamo_ops.consistency.repair import FILES_PER_CHUNK, JUDGE_CHUNK, repair
from dynamo_ops.consistency.settings import SiteRules
from dynamo_ops.inventory.states import DeletionObservation
from dynamo_ops.storage.protocol import DeletionOutcome
from tests.world import World

NUM_FINDINGS = 20_000


def compared(world: World, kinds: dict[str, int]) -> int:
    """A check of T2_A with so many findings of each kind."""
    check_id = world.inventory.scalar(
        """INSERT INTO consistency_checks (run_key, site_id, state, inventory_read_at, storage_listed_at)
           VALUES ('run', :site, 'compared', now(), now()) RETURNING id""",
        site=world.inventory.site_ids["T2_A"],
    )
    for kind, number in kinds.items():
        world.inventory.rows(
            """INSERT INTO consistency_findings (check_id, kind, state, lfn, size_bytes, modified_at)
               SELECT :check, :kind, 'found', '/store/unmerged/' || :kind || lpad(n::text, 8, '0'), 1, '2020-01-01'
               FROM generate_series(1, CAST(:number AS integer)) AS n""",
            check=check_id,
            kind=kind,
            number=number,
        )
    world.inventory.rows("ANALYZE consistency_findings")
    return int(check_id)


def scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if plan.get("Relation Name") == "consistency_findings":
        yield plan
    for part in plan.get("Plans", []):
        yield from scans(part)


@pytest.mark.parametrize("num_done", [0, NUM_FINDINGS // 2, NUM_FINDINGS - FILES_PER_CHUNK])
def test_a_chunk_reads_its_own_findings_and_no_others(world: World, num_done: int) -> None:
    check_id = compared(world, {"orphan": NUM_FINDINGS})
    rows = world.inventory.rows
    after = rows("SELECT min(id) - 1 + :done FROM consistency_findings", done=num_done)[0][0]
    rows("UPDATE consistency_findings SET state = 'repaired' WHERE id <= :after", after=after)
    site_id = world.inventory.site_ids["T2_A"]
    params = {"check": check_id, "site": site_id, "kind": "orphan", "after": after, "size": FILES_PER_CHUNK}
    with world.inventory.db.begin() as connection:
        answer = connection.execute(text(f"EXPLAIN (ANALYZE, FORMAT JSON) {JUDGE_CHUNK}"), params).scalar_one()
    plan = (answer if isinstance(answer, list) else json.loads(answer))[0]["Plan"]
    reading = [scan for scan in scans(plan) if scan["Node Type"].startswith("Index")]
    assert "id > " in reading[0]["Index Cond"]
    assert reading[0].get("Rows Removed by Filter", 0) == 0
    assert reading[0]["Actual Rows"] == FILES_PER_CHUNK


class Counting:
    """A storage on which every file is there, and that notes what it is asked to delete."""

    def __init__(self, storage: Any, deleted: list[str]) -> None:
        self.endpoint, self._deleted = storage.endpoint, deleted

    def delete(self, lfns: list[str]) -> list[DeletionOutcome]:
        self._deleted += lfns
        return [DeletionOutcome(lfn, DeletionObservation.DELETED) for lfn in lfns]

    def remove_empty_directories(self, directories: list[str], keep: Any = ()) -> int:
        return 0

    def close(self) -> None:
        pass


def test_each_finding_is_deleted_once_in_the_order_of_names(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair_module, "FILES_PER_CHUNK", 7)
    check_id, deleted = compared(world, {"orphan": 20, "unmanaged": 15}), []
    rules = SiteRules(delete_orphans=True, delete_unmanaged=True)
    summary = repair(world.inventory.db, check_id, lambda site: Counting(world.open_storage(site), deleted), rules)
    assert summary.num_deleted == 35
    assert len(set(deleted)) == len(deleted) == 35
    chunks = [deleted[start : start + 7] for start in range(0, 20, 7)]
    assert [sorted(chunk) for chunk in chunks[:2]] == [sorted(deleted[:14])[:7], sorted(deleted[:14])[7:]]
