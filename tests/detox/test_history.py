"""What commits write down of what they do, asked for later: by dataset, by cycle, by site."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.detox import history
from dynamo_ops.detox.commit import commit
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.verdict import refuse
from tests.detox.test_commit import Stock
from tests.inventory.factory import SIZE
from tests.people import ADA

DATASET = "/A/B-v1/AOD"
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
LINES = ("Dismiss", "Delete dataset.status == INVALID", "Protect site.name == T2_A")
SHOWN = ("site", "decision", "line", "policy_line", "num_blocks", "size_bytes")


@pytest.fixture
def stock(database: Database, tmp_path: Path) -> Iterator[Stock]:
    return Stock(database, tmp_path)


def cycle(stock: Stock, key: str, **plan: Any) -> int:
    """Plan and commit; returns the plan's id."""
    made = stock.plan(run_key=key, **plan)
    commit(stock.db, made)
    return made


def told(stock: Stock, plan_id: int, *columns: str) -> list[tuple[Any, ...]]:
    """What is remembered of one plan."""
    found = history.dataset_history(stock.db, DATASET, since=LONG_AGO)
    return found.filter(plan_id=plan_id).select(columns or SHOWN).rows()


def test_the_first_cycle_is_written_down_whole(stock: Stock) -> None:
    plan = stock.plan(("b1", "T2_A"), lines=LINES, kept=[("T2_A", "keep", 0), ("T2_B", "protect", 2)])
    commit(stock.db, plan)
    assert told(stock, plan) == [
        ("T2_A", "delete", 1, LINES[1], 1, 3 * SIZE),
        ("T2_A", "keep", 0, LINES[0], 2, 6 * SIZE),
        ("T2_B", "protect", 2, LINES[2], 2, 6 * SIZE),
    ]


def test_what_stands_is_written_down_when_it_changes(stock: Stock) -> None:
    for_ever = ("T2_C", "ignore", 0)
    cycle(stock, "1", lines=LINES, kept=[("T2_A", "keep", 0), ("T2_B", "protect", 2), for_ever])
    again = cycle(stock, "2", lines=LINES, kept=[("T2_A", "keep", 0), ("T2_B", "protect", 2), for_ever])
    assert told(stock, again) == []
    changed = cycle(stock, "3", lines=LINES, kept=[("T2_A", "protect", 2), ("T2_B", "protect", 1), for_ever])
    assert told(stock, changed, "site", "decision", "line") == [("T2_A", "protect", 2), ("T2_B", "protect", 1)]


def test_a_line_that_has_moved_is_still_the_same_line(stock: Stock) -> None:
    cycle(stock, "1", lines=LINES, kept=[("T2_A", "keep", 0), ("T2_B", "protect", 2)])
    moved = (*LINES[:2], "Protect dataset.name == /X/*", LINES[2])
    plan = cycle(stock, "2", lines=moved, kept=[("T2_A", "keep", 0), ("T2_B", "protect", 3)])
    assert told(stock, plan) == []
    other = (*LINES[:2], "Protect site.name == T2_*")
    plan = cycle(stock, "3", lines=other, kept=[("T2_A", "keep", 0), ("T2_B", "protect", 2)])
    assert told(stock, plan, "site", "line", "policy_line") == [("T2_B", 2, other[2])]


def test_all_that_is_said_of_a_dataset_replica_is_written_when_a_part_of_it_changes(stock: Stock) -> None:
    cycle(stock, "1", lines=LINES, kept=[("T2_A", "keep", 0), ("T2_A", "protect", 2)])
    plan = cycle(stock, "2", lines=LINES, kept=[("T2_A", "keep", 0)])
    assert told(stock, plan, "site", "decision") == [("T2_A", "keep")]


def test_the_cycle_before_is_that_of_the_same_partition_that_was_committed(stock: Stock) -> None:
    first = cycle(stock, "1", kept=[("T2_A", "keep", 0)])
    other = cycle(stock, "1", partition="express", kept=[("T2_A", "ignore", 0)])
    stock.plan(run_key="2", kept=[("T2_A", "ignore", 0)])  # planned, not committed
    plan = cycle(stock, "3", kept=[("T2_A", "keep", 0)])
    assert told(stock, first, "decision") == [("keep",)]
    assert told(stock, other, "decision") == [("ignore",)]
    assert told(stock, plan) == []


def test_without_the_rows_of_the_cycle_before_all_is_written(stock: Stock) -> None:
    first = cycle(stock, "1", kept=[("T2_A", "keep", 0)])
    shutil.rmtree(plan_store.load(stock.db, first).location)
    plan = cycle(stock, "2", kept=[("T2_A", "keep", 0)])
    assert told(stock, plan, "decision") == [("keep",)]


def test_what_the_commit_left_out_or_handed_over_is_told_as_it_was(stock: Stock) -> None:
    plan = stock.plan(("b1", "T2_A"), ("b2", "T2_A"), lines=LINES, reowned={("b2", "T2_B"): stock.users})
    stock.rows("INSERT INTO locks (item, reason, created_by) VALUES (:i, 'in use', 'test')", i=f"{DATASET}#b1")
    commit(stock.db, plan)
    assert told(stock, plan, "site", "decision", "line", "num_blocks", "reasons") == [
        ("T2_A", "delete", 1, 1, None),
        ("T2_A", "left_out", 1, 1, "it is locked"),
        ("T2_B", "reowned", 2, 1, None),
    ]


def test_a_hand_over_that_did_not_happen_is_not_told(stock: Stock) -> None:
    plan = stock.plan(reowned={("b2", "T2_A"): stock.users})
    stock.change("UPDATE block_replicas SET group_id = NULL WHERE block_id = :b AND site_id = :s", block="b2")
    commit(stock.db, plan)
    assert told(stock, plan) == []


def test_questions_are_narrowed_by_time_and_site(stock: Stock) -> None:
    old = cycle(stock, "1", kept=[("T2_A", "keep", 0)])
    stock.rows("UPDATE plans SET committed_at = now() - interval '2 years' WHERE id = :i", i=old)
    new = cycle(stock, "2", lines=LINES, kept=[("T2_A", "protect", 2), ("T2_B", "keep", 0)])
    a_year = datetime.now(UTC) - timedelta(days=365)
    assert set(history.dataset_history(stock.db, DATASET, since=a_year)["plan_id"]) == {new}
    found = history.dataset_history(stock.db, "/A/*", since=LONG_AGO, site="T2_[A]*")
    assert found.select("plan_id", "site").rows() == [(new, "T2_A"), (old, "T2_A")]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        ({"dataset": "/X/Y/Z"}, "no dataset is called '/X/Y/Z'"),
        ({"dataset": "/X/*"}, r"no dataset matches '/X/\*'"),
        ({"dataset": DATASET, "site": "T9"}, "no site is called 'T9'"),
    ],
    ids=["dataset", "glob", "site"],
)
def test_what_is_not_there_is_told(stock: Stock, ask: dict[str, str], message: str) -> None:
    with pytest.raises(InventoryError, match=message):
        history.dataset_history(stock.db, since=LONG_AGO, **ask)


def test_cycles_tell_what_became_of_them(stock: Stock) -> None:
    done = stock.plan(("b1", "T2_A"), ("b1", "T2_B"), run_key="1")
    commit(stock.db, done)
    no = stock.plan(run_key="2", approved=False)
    refuse(stock.db, no, "too much", by=ADA)
    found = history.cycle_history(stock.db, "physics", since=LONG_AGO)
    assert found.select("plan_id", "state", "approved_by", "refused_by", "refused_because").rows() == [
        (no, "refused", None, "ada", "too much"),
        (done, "committed", "gate", None, None),
    ]
    columns = ("num_block_replicas", "deleted_bytes", "num_left_out", "num_triggered_sites")
    assert found.select(columns).rows() == [(None, None, None, 1), (0, 0, 2, 1)]
    assert history.cycle_history(stock.db, "express", since=LONG_AGO).is_empty()


def test_a_site_is_told_before_and_after_each_cycle(stock: Stock) -> None:
    plan = cycle(stock, "1", lines=LINES, kept=())
    deleting = stock.plan(("b1", "T2_A"), run_key="2")
    commit(stock.db, deleting)
    found = history.site_history(stock.db, "T2_A", since=LONG_AGO)
    columns = (
        "plan_id",
        "partition",
        "bytes_before",
        "bytes_after",
        "protected_bytes",
        "deleted_bytes",
        "is_triggered",
    )
    assert found.select(columns).rows() == [
        (deleting, "physics", 6 * SIZE, 3 * SIZE, SIZE, 3 * SIZE, True),
        (plan, "physics", 6 * SIZE, 3 * SIZE, SIZE, 0, True),
    ]
    assert history.site_history(stock.db, "T2_*", since=LONG_AGO, partition="express").is_empty()


def test_a_repeated_commit_writes_nothing_twice(stock: Stock) -> None:
    plan = stock.plan(("b1", "T2_A"), kept=[("T2_B", "keep", 0)])
    commit(stock.db, plan)
    before = stock.everything()
    commit(stock.db, plan)
    assert stock.everything() == before


def test_old_history_goes_but_what_still_stands(stock: Stock) -> None:
    old = stock.plan(
        ("b1", "T2_A"), ("b2", "T2_A"), run_key="1", lines=LINES, kept=[("T2_B", "protect", 2), ("T2_C", "keep", 0)]
    )
    stock.rows("INSERT INTO locks (item, reason, created_by) VALUES (:i, 'in use', 'test')", i=f"{DATASET}#b1")
    commit(stock.db, old)
    new = cycle(stock, "2", lines=LINES, kept=[("T2_B", "protect", 2), ("T2_C", "ignore", 0)])
    stock.rows("UPDATE plans SET committed_at = now() - interval '3 years' WHERE id = :i", i=old)
    removed = history.prune_history(stock.db, before=datetime.now(UTC) - timedelta(days=731))
    assert told(stock, old, "site", "decision") == [("T2_B", "protect")]  # nothing else was said of it since
    assert told(stock, new, "site", "decision") == [("T2_C", "ignore")]
    assert removed == 5  # delete, left_out, keep; the reason of what was left out; the state of the site
    assert history.prune_history(stock.db, before=datetime.now(UTC) - timedelta(days=731)) == 0


SYNTHETIC = """
    INSERT INTO detox_history (dataset_id, site_id, plan_id, decision, line, num_blocks, size_bytes)
    SELECT d, s, p.id, CASE WHEN (d + p.id) % 3 = 0 THEN 'delete' ELSE 'protect' END, 1, 10, 1000
    FROM plans p, generate_series(1, 2000) d, generate_series(1, 3) s WHERE (d + s + p.id) % 20 = 0"""


def test_one_dataset_among_many_cycles_is_an_index_scan(stock: Stock) -> None:
    stock.rows(
        """INSERT INTO datasets (name, status, is_open, last_update_at)
           SELECT '/X/' || n || '/AOD', 'valid', false, now() FROM generate_series(1, 2000) n"""
    )
    first = cycle(stock, "0")
    stock.rows(
        """INSERT INTO plans (kind, partition, run_key, state, policy_version_id, location, summary, planned_for_at,
                              committed_at)
           SELECT kind, partition, 'run ' || n, 'committed', policy_version_id, location, summary, planned_for_at,
                  now() - n * interval '1 day' FROM plans, generate_series(1, 365) n WHERE id = :i""",
        i=first,
    )
    stock.rows(SYNTHETIC)
    stock.rows("ANALYZE detox_history, plans, datasets, sites, policy_lines")
    found = history.dataset_history(stock.db, DATASET, since=LONG_AGO)
    assert found.height == stock.scalar("SELECT count(*) FROM detox_history WHERE dataset_id = :d", d=stock.dataset_id)
    assert found["at"].is_sorted(descending=True)
    ids, since = f"{{{stock.dataset_id}}}", LONG_AGO.isoformat()
    plan = stock.db.frame(f"EXPLAIN {history.HISTORY_SQL}", (ids, since, None))
    text = "\n".join(plan.to_series())
    assert "Index Scan using pk_detox_history" in text or "Bitmap Index Scan on pk_detox_history" in text
    assert "Seq Scan on detox_history" not in text
