"""Plans as data: stored whole, moved along the arrows of the state table and along no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest

from dynamo_ops.base.errors import PlanError
from dynamo_ops.database.connection import Database
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.store import StoredPlan
from dynamo_ops.plan.verdict import GATE, approve, refuse
from tests.people import ADA
from tests.plan.made_of import NOW, made_of

FRAME = pl.DataFrame({"block_id": [1, 2], "reason": ["old", None]})


def save(database: Database, folder: Path | str, **changes: Any) -> StoredPlan:
    inputs = made_of(**{name: changes.pop(name) for name in ("kind", "partition", "policy") if name in changes})
    given: dict[str, Any] = {
        "inputs": inputs,
        "run_key": "r1",
        "frames": {"decisions": FRAME},
        "summary": {"num_deletions": 2, "deleted_bytes": 0},
        "location": str(folder),
    }
    return plan_store.save(database, **{**given, **changes})


def brought_to(database: Database, folder: Path, state: str) -> int:
    plan = save(database, folder)
    if state in {"approved", "committed"}:
        approve(database, plan.id, GATE)
    if state == "refused":
        refuse(database, plan.id, "too much")
    if state == "committed":
        with database.begin() as connection:
            plan_store.mark_committed(connection, plan_store.lock_for_commit(connection, plan.id), {"num_files": 3})
    assert plan_store.load(database, plan.id).state == state
    return plan.id


def test_a_plan_comes_back_as_it_was_stored(database: Database, tmp_path: Path) -> None:
    saved = save(database, tmp_path)
    loaded = plan_store.load(database, saved.id)
    assert loaded == saved
    assert (loaded.kind, loaded.partition, loaded.run_key, loaded.state) == ("detox", "physics", "r1", "planned")
    assert loaded.planned_for_at == NOW
    assert loaded.summary["num_deletions"] == 2
    assert loaded.frame("decisions").equals(FRAME)


def test_frames_may_lie_in_any_fsspec_location(database: Database) -> None:
    saved = save(database, "memory://plans")
    assert plan_store.load(database, saved.id).frame("decisions").equals(FRAME)
    assert fsspec.filesystem("memory").find("/plans")


def test_a_task_run_again_replaces_its_plan(database: Database, tmp_path: Path) -> None:
    first = brought_to(database, tmp_path, "approved")
    second = save(database, tmp_path, frames={"decisions": FRAME.head(1)}, summary={"num_deletions": 1})
    assert second.id == first
    assert (second.state, second.approved_by, second.summary["num_deletions"]) == ("planned", None, 1)
    assert second.frame("decisions").height == 1


def test_a_refused_plan_stays_when_its_task_is_run_again(database: Database, tmp_path: Path) -> None:
    first = brought_to(database, tmp_path, "refused")
    second = save(database, tmp_path, summary={"num_deletions": 1})
    third = save(database, tmp_path)
    old = plan_store.load(database, first)
    assert (old.state, old.refused_because, old.run_key) == ("refused", "too much", f"r1 (refused {first})")
    assert (second.state, third.id, third.run_key) == ("planned", second.id, "r1")
    assert second.id != first


def test_a_committed_plan_is_not_replaced(database: Database, tmp_path: Path) -> None:
    plan = brought_to(database, tmp_path, "committed")
    again = save(database, tmp_path, frames={"decisions": FRAME.head(1)}, summary={})
    assert (again.id, again.state) == (plan, "committed")
    assert again.frame("decisions").height == 2


def test_who_stored_a_plan_by_hand_is_kept_with_it(database: Database, tmp_path: Path) -> None:
    cycle, by_hand = save(database, tmp_path), save(database, tmp_path, run_key="r2", by=ADA)
    assert (cycle.stored_by, by_hand.stored_by) == (None, "ada")
    stored = [plan_store.load(database, plan.id) for plan in (by_hand, cycle)]
    assert [plan.stored_by for plan in stored] == ["ada", None]
    assert save(database, tmp_path, run_key="r2").stored_by is None, "whose it is now"


@pytest.mark.parametrize(
    "other",
    [{"run_key": "r2"}, {"partition": "express"}, {"kind": "dealer"}],
    ids=["another run", "another partition", "another kind"],
)
def test_plans_of_others_are_plans_of_their_own(database: Database, tmp_path: Path, other: dict[str, str]) -> None:
    assert save(database, tmp_path, **other).id != save(database, tmp_path).id


def test_a_policy_text_is_kept_once(database: Database, tmp_path: Path) -> None:
    for run_key, policy in (("r1", "Dismiss"), ("r2", "Dismiss"), ("r3", "Protect")):
        save(database, tmp_path, run_key=run_key, policy=policy)
    texts = database.frame("SELECT text FROM policy_versions ORDER BY id")["text"].to_list()
    assert texts == ["Dismiss", "Protect"]


@pytest.mark.parametrize(
    ("state", "is_open"), [("planned", False), ("refused", False), ("approved", True), ("committed", True)]
)
def test_what_can_be_locked_for_a_commit(database: Database, tmp_path: Path, state: str, is_open: bool) -> None:
    plan = brought_to(database, tmp_path, state)
    with database.begin() as connection:
        if is_open:
            assert plan_store.lock_for_commit(connection, plan).state == state
        else:
            with pytest.raises(PlanError, match="only an approved plan can be committed"):
                plan_store.lock_for_commit(connection, plan)


def test_frames_are_written_before_the_row_that_names_them(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", broken)
    with pytest.raises(OSError, match="disk full"):
        save(database, tmp_path)
    assert database.frame("SELECT count(*) FROM plans").item() == 0


def test_a_plan_that_is_not_there(database: Database) -> None:
    with pytest.raises(PlanError, match="there is no plan 4711"):
        plan_store.load(database, 4711)
