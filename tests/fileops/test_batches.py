"""Queue → batches: fair, limited, recorded with ids that FTS will give."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from dynamo_ops.fileops.batches import make_batches, plan_batches
from dynamo_ops.fileops.fts.identity import FtsIdentity
from dynamo_ops.fileops.limits import TransferLimits
from tests.fileops.factory import Inventory

START = datetime(2026, 1, 1, tzinfo=UTC)


def chosen(*rows: tuple[int, int, int, bool]) -> pl.DataFrame:
    """(wish, destination, source, is_tape) in order of age."""
    return pl.DataFrame(
        [
            {
                "subscription_id": w,
                "site_id": d,
                "source_site_id": s,
                "is_tape": t,
                "size_bytes": 1,
                "num_attempts": 0,
                "created_at": START + timedelta(seconds=n),
            }
            for n, (w, d, s, t) in enumerate(rows)
        ]
    )


def members(batches: pl.DataFrame) -> list[list[int]]:
    return [rows["subscription_id"].to_list() for _, rows in batches.group_by("batch", maintain_order=True)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(1, 5, 1, False), (2, 5, 2, False), (3, 5, 1, False)], [[1, 2], [3]]),
        ([(1, 5, 1, False), (2, 6, 1, False)], [[1], [2]]),
        ([(1, 5, 1, False), (2, 5, 9, True), (3, 5, 8, True)], [[1], [3], [2]]),
        ([(1, 5, 1, False), (2, 5, 1, False), (3, 5, 1, False), (4, 6, 1, False)], [[1, 2], [4], [3]]),
    ],
    ids=["cut at the limit, sources mixed", "by destination", "staging apart by tape site", "destinations in turn"],
)
def test_make_batches(rows: list[tuple[int, int, int, bool]], expected: list[list[int]]) -> None:
    batches = make_batches(chosen(*rows), files_per_job=2)
    assert members(batches) == expected
    for _, job in batches.group_by("batch"):
        assert job["file_index"].to_list() == list(range(job.height))


@pytest.fixture
def three(inventory: Inventory) -> Inventory:
    for name in ("T2_A", "T2_B", "T2_C"):
        inventory.site(name)
    return inventory


def test_ids_are_recorded_before_any_submit(three: Inventory, identity: FtsIdentity) -> None:
    lfns = three.block("b1", 3)
    three.replica("b1", "T2_A")
    three.wish("copy", lfns, "T2_B")
    (batch,) = plan_batches(three.db, identity, TransferLimits())
    ((sid, job_id, state, is_staging),) = three.rows(
        "SELECT sid, job_id, state, is_staging FROM transfer_batches WHERE id = :b", b=batch
    )
    assert job_id == identity.job_id(sid)
    assert (state, is_staging) == ("planned", False)
    assert three.rows("SELECT file_index, state, size_bytes FROM transfers ORDER BY file_index") == [
        (n, "planned", 1000) for n in range(3)
    ]
    assert set(three.rows("SELECT state, num_attempts FROM subscriptions")) == {("inbatch", 1)}
    assert plan_batches(three.db, identity, TransferLimits()) == []


def test_limits(three: Inventory, identity: FtsIdentity) -> None:
    lfns = three.block("b1", 10)
    three.replica("b1", "T2_A")
    three.wish("copy", lfns, "T2_B")
    three.wish("copy", lfns[:4], "T2_C")
    limits = TransferLimits(files_per_job=3, files_per_cycle=6, files_to_site=4)
    plan_batches(three.db, identity, limits)
    by_site = dict(
        three.rows(
            "SELECT d.name, count(*) FROM transfers t JOIN transfer_batches b ON b.id = t.batch_id "
            "JOIN sites d ON d.id = b.site_id GROUP BY 1"
        )
    )
    assert by_site == {"T2_B": 3, "T2_C": 3}  # six in all, in turn
    plan_batches(three.db, identity, limits)
    assert (
        three.scalar(
            "SELECT count(*) FROM transfers t JOIN transfer_batches b ON b.id = t.batch_id WHERE b.site_id = :s",
            s=three.site_ids["T2_B"],
        )
        == 4
    )  # in flight, not per cycle


def test_oldest_first(three: Inventory, identity: FtsIdentity) -> None:
    lfns = three.block("b1", 3)
    three.replica("b1", "T2_A")
    three.wish("copy", lfns, "T2_B")
    three.rows(
        "UPDATE subscriptions SET created_at = now() - interval '1 day' WHERE file_id = :f", f=three.file_ids[lfns[2]]
    )
    plan_batches(three.db, identity, TransferLimits(files_per_cycle=1))
    assert three.wishes()["copy", lfns[2], "T2_B"] == "inbatch"


@pytest.mark.parametrize(("minutes", "taken"), [(9, 0), (11, 1)], ids=["too early", "time"])
def test_backoff_doubles(three: Inventory, identity: FtsIdentity, minutes: int, taken: int) -> None:
    lfns = three.block("b1", 1)
    three.replica("b1", "T2_A")
    three.wish("copy", lfns, "T2_B")
    three.rows(
        "UPDATE subscriptions SET state = 'retry', num_attempts = 2, updated_at = now() - :m * interval '1 minute'",
        m=minutes,
    )
    assert len(plan_batches(three.db, identity, TransferLimits(backoff=timedelta(minutes=5)))) == taken


def test_incomplete_source_gives_only_what_it_has(three: Inventory, identity: FtsIdentity) -> None:
    lfns = three.block("b1", 2)
    three.replica("b1", "T2_A", present=lfns[:1])
    three.wish("copy", lfns, "T2_B")
    plan_batches(three.db, identity)
    assert three.wishes() == {("copy", lfns[0], "T2_B"): "inbatch", ("copy", lfns[1], "T2_B"): "new"}


def test_waits_while_the_file_is_being_deleted_there(three: Inventory, identity: FtsIdentity) -> None:
    from dynamo_ops.fileops.deletions import plan_deletions

    lfns = three.block("b1", 1)
    three.replica("b1", "T2_A")
    three.replica("b1", "T2_B")
    three.wish("delete", lfns, "T2_B")
    plan_deletions(three.db)
    three.wish("copy", lfns, "T2_B")
    assert plan_batches(three.db, identity) == []


def test_no_protocol_in_common_is_held(three: Inventory, identity: FtsIdentity) -> None:
    lfns = three.block("b1", 1)
    three.replica("b1", "T2_A")
    three.rows("UPDATE site_endpoints SET protocol = 'root' WHERE site_id = :s", s=three.site_ids["T2_A"])
    three.wish("copy", lfns, "T2_B")
    assert plan_batches(three.db, identity) == []
    assert three.wishes() == {("copy", lfns[0], "T2_B"): "held/refused"}


@pytest.mark.parametrize(
    ("statuses", "source"),
    [
        pytest.param({"T2_A": "ready", "T2_C": "morgue"}, "T2_A", id="ready first"),
        pytest.param({"T2_A": "morgue", "T2_C": "waitroom"}, "T2_A", id="morgue where no site is ready"),
        pytest.param({"T2_A": "waitroom", "T2_C": "unknown"}, None, id="nothing else"),
    ],
)
def test_a_site_in_the_morgue_is_read_as_a_last_resort(
    three: Inventory, identity: FtsIdentity, statuses: dict[str, str], source: str | None
) -> None:
    lfns = three.block("b1", 20)
    for site, status in statuses.items():
        three.replica("b1", site)
        three.rows("UPDATE sites SET status = :st WHERE name = :n", st=status, n=site)
    three.wish("copy", lfns, "T2_B")
    plan_batches(three.db, identity, TransferLimits())
    used = {row[0] for row in three.rows("SELECT s.name FROM transfers t JOIN sites s ON s.id = t.source_site_id")}
    assert used == ({source} if source else set())
    assert set(three.rows("SELECT state FROM subscriptions")) == {("inbatch" if source else "new",)}
