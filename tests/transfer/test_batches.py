"""Queue → batches: fair, limited, recorded with ids that FTS will give."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import polars as pl
import pytest
from sqlalchemy import text

from dynamo_ops.base.settings import SiteTransfers
from dynamo_ops.database.locks import alone
from dynamo_ops.fts.identity import FtsIdentity
from dynamo_ops.transfer.batches import PlanRules, make_batches, plan_batches
from dynamo_ops.transfer.hold import hold_and_release
from dynamo_ops.transfer.recovery import abandon_direct
from dynamo_ops.transfer.source_choice import DirectRule
from dynamo_ops.transfer.submission.limits import TransferLimits
from tests.inventory.factory import Inventory


def chosen(*rows: tuple[int, int, int, str], server: str | None = None, verify_checksum: str = "both") -> pl.DataFrame:
    """(subscription, destination, source, kind: disk, tape, direct or several) in order of age; two a block."""
    return pl.DataFrame(
        [
            {
                "subscription_id": w,
                "site_id": d,
                "source_site_id": s,
                "is_tape": kind == "tape",
                "is_direct": kind == "direct",
                "server": server,
                "verify_checksum": None if kind == "direct" else verify_checksum,
                "other_source_site_ids": [77] if kind == "several" else None,
                "turn": n,
                "block_id": w % 2,
                "size_bytes": 1,
                "num_attempts": 0,
                "created_us": n,
                "activity": "default" if w < 100 else "request",
            }
            for n, (w, d, s, kind) in enumerate(rows)
        ],
        schema_overrides={
            "other_source_site_ids": pl.List(pl.Int16),
            "server": pl.String,
            "verify_checksum": pl.String,
        },
    )


def members(batches: pl.DataFrame) -> list[list[int]]:
    return [rows["subscription_id"].to_list() for _, rows in batches.group_by("batch", maintain_order=True)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(1, 5, 1, "disk"), (2, 5, 2, "disk"), (3, 5, 1, "disk")], [[1, 2], [3]]),
        ([(1, 5, 1, "disk"), (2, 6, 1, "disk")], [[1], [2]]),
        ([(1, 5, 1, "disk"), (2, 5, 9, "tape"), (3, 5, 8, "tape")], [[1], [3], [2]]),
        ([(n, 5, 9, "tape") for n in (1, 2, 3, 4, 5)], [[2, 4, 1], [3, 5]]),
        ([(n, 5, 9, "direct") for n in (1, 2, 3)], [[1], [2], [3]]),
        ([(1, 5, 1, "disk"), (2, 5, 1, "several"), (3, 5, 1, "several"), (4, 5, 1, "disk")], [[1, 4], [2], [3]]),
        ([(1, 5, 1, "disk"), (101, 5, 1, "disk"), (2, 5, 1, "disk")], [[1, 2], [101]]),
        ([(1, 5, 1, "disk"), (2, 5, 1, "disk"), (3, 5, 1, "disk"), (4, 6, 1, "disk")], [[1, 2], [4], [3]]),
    ],
    ids=[
        "cut at the limit, sources mixed",
        "by destination",
        "staging apart by tape site",
        "larger ones for tape, block by block",
        "direct ones cut at their own limit",
        "a file with several sources alone",
        "by activity",
        "destinations in turn",
    ],
)
def test_make_batches(rows: list[tuple[int, int, int, str]], expected: list[list[int]]) -> None:
    limits = TransferLimits(files_per_job=2, files_per_staging_job=3, files_per_direct_batch=1)
    batches = make_batches(chosen(*rows), limits)
    assert members(batches) == expected
    for _, job in batches.group_by("batch"):
        assert job["file_index"].to_list() == list(range(job.height))


def test_a_batch_is_for_one_server() -> None:
    rows = [(1, 5, 1, "disk"), (2, 5, 2, "disk"), (3, 5, 1, "disk")]
    both = pl.concat([chosen(*rows[:2], server="https://one"), chosen(rows[2], server="https://two")])
    assert members(make_batches(both, TransferLimits())) == [[1, 2], [3]]


@pytest.fixture
def three(inventory: Inventory) -> Inventory:
    for name in ("T2_A", "T2_B", "T2_C"):
        inventory.site(name)
    return inventory


def test_ids_are_recorded_before_any_submit(three: Inventory, identity: FtsIdentity) -> None:
    lfns = three.block("b1", 3)
    three.replica("b1", "T2_A")
    three.subscription("copy", lfns, "T2_B")
    (batch,) = plan_batches(three.db, identity, TransferLimits()).all
    ((sid, job_id, state, is_staging),) = three.rows(
        "SELECT sid, job_id, state, is_staging FROM transfer_batches WHERE id = :b", b=batch
    )
    assert job_id == identity.job_id(sid)
    assert (state, is_staging) == ("planned", False)
    assert three.rows("SELECT file_index, state, size_bytes FROM transfers ORDER BY file_index") == [
        (n, "planned", 1000) for n in range(3)
    ]
    assert set(three.rows("SELECT state, num_attempts FROM subscriptions")) == {("inbatch", 1)}
    assert plan_batches(three.db, identity, TransferLimits()).all == []


def test_a_file_goes_to_one_storage_once_at_a_time(inventory: Inventory, identity: FtsIdentity) -> None:
    """T2_B and T2_C lie on one storage: a second copy would be written over the first, which counts by then."""
    for name in ("T2_A", "T2_B", "T2_C"):
        inventory.site(name, prefix=None if name == "T2_A" else "davs://bc.invalid:443/dav")
    lfns = inventory.block("b1", 2)
    inventory.replica("b1", "T2_A")
    inventory.subscription("copy", lfns, "T2_B")
    inventory.subscription("copy", lfns, "T2_C")
    planned = [plan_batches(inventory.db, identity, TransferLimits()).num_files for _ in range(2)]
    assert planned == [2, 0]
    assert inventory.rows("SELECT DISTINCT site_id FROM transfer_batches") == [(inventory.site_ids["T2_B"],)]


def test_a_site_has_limits_of_its_own(
    three: Inventory, identity: FtsIdentity, caplog: pytest.LogCaptureFixture
) -> None:
    lfns = three.block("b1", 10)
    three.replica("b1", "T2_A")
    three.subscription("copy", lfns, "T2_B")
    three.subscription("copy", lfns, "T2_C")
    sites = {"T2_B": SiteTransfers(files_to_site=6), "T2_b": SiteTransfers(files_to_site=9)}
    for _ in range(2):  # what is under way counts
        plan_batches(three.db, identity, TransferLimits(files_to_site=4, sites=sites))
    by_site = three.rows(
        "SELECT d.name, count(*) FROM transfers t JOIN transfer_batches b ON b.id = t.batch_id "
        "JOIN sites d ON d.id = b.site_id GROUP BY 1"
    )
    assert dict(by_site) == {"T2_B": 6, "T2_C": 4}
    assert "transfers.sites.T2_b: matches no site of the inventory" in caplog.text


def test_limits(three: Inventory, identity: FtsIdentity) -> None:
    lfns = three.block("b1", 10)
    three.replica("b1", "T2_A")
    three.subscription("copy", lfns, "T2_B")
    three.subscription("copy", lfns[:4], "T2_C")
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
    three.subscription("copy", lfns, "T2_B")
    three.rows(
        "UPDATE subscriptions SET created_at = now() - interval '1 day' WHERE file_id = :f", f=three.file_ids[lfns[2]]
    )
    plan_batches(three.db, identity, TransferLimits(files_per_cycle=1))
    assert three.subscriptions()["copy", lfns[2], "T2_B"] == "inbatch"


@pytest.mark.parametrize(("minutes", "taken"), [(9, 0), (11, 1)], ids=["too early", "time"])
def test_backoff_doubles(three: Inventory, identity: FtsIdentity, minutes: int, taken: int) -> None:
    lfns = three.block("b1", 1)
    three.replica("b1", "T2_A")
    three.subscription("copy", lfns, "T2_B")
    three.rows(
        "UPDATE subscriptions SET state = 'retry', num_attempts = 2, updated_at = now() - :m * interval '1 minute'",
        m=minutes,
    )
    assert plan_batches(three.db, identity, TransferLimits(backoff_s=300)).num_files == taken


def test_incomplete_source_gives_only_what_it_has(three: Inventory, identity: FtsIdentity) -> None:
    lfns = three.block("b1", 2)
    three.replica("b1", "T2_A", present=lfns[:1])
    three.subscription("copy", lfns, "T2_B")
    plan_batches(three.db, identity)
    assert three.subscriptions() == {("copy", lfns[0], "T2_B"): "inbatch", ("copy", lfns[1], "T2_B"): "new"}


def test_what_a_check_doubts_is_read_where_nothing_else_gives_the_file(three: Inventory, identity: FtsIdentity) -> None:
    """f0 is missed at T2_A, where f1 is well, and is at T2_C, which is in the morgue; f2 is only at T2_A, missed."""
    lfns = [*three.block("b1", 2), *three.block("b2", 1)]
    for block, site in (("b1", "T2_A"), ("b1", "T2_C"), ("b2", "T2_A")):
        three.replica(block, site)
    three.rows("UPDATE sites SET status = 'morgue' WHERE id = :s", s=three.site_ids["T2_C"])
    three.rows(
        "INSERT INTO consistency_checks (id, run_key, site_id, state) VALUES (1, 'r', :s, 'compared')",
        s=three.site_ids["T2_A"],
    )
    three.rows(
        """INSERT INTO consistency_findings (check_id, kind, state, lfn, size_bytes, file_id)
           SELECT 1, 'missing', 'seen', lfn, size_bytes, id FROM files WHERE lfn = ANY(:lfns)""",
        lfns=[lfns[0], lfns[2]],
    )
    three.subscription("copy", lfns, "T2_B")
    plan_batches(three.db, identity)
    names = {number: name for name, number in three.site_ids.items()}
    chosen = three.rows("""SELECT f.lfn, t.source_site_id FROM transfers t
        JOIN subscriptions s ON s.id = t.subscription_id JOIN files f ON f.id = s.file_id""")
    assert {lfn: names[site] for lfn, site in chosen} == dict(zip(lfns, ("T2_C", "T2_A", "T2_A"), strict=True))


def test_waits_while_the_file_is_being_deleted_there(three: Inventory, identity: FtsIdentity) -> None:
    from dynamo_ops.deletion.queue import plan_deletions

    lfns = three.block("b1", 1)
    three.replica("b1", "T2_A")
    three.replica("b1", "T2_B")
    three.subscription("delete", lfns, "T2_B")
    plan_deletions(three.db)
    three.subscription("copy", lfns, "T2_B")
    assert plan_batches(three.db, identity).all == []


def test_no_protocol_in_common_is_held(three: Inventory, identity: FtsIdentity) -> None:
    lfns = three.block("b1", 1)
    three.replica("b1", "T2_A")
    three.rows("UPDATE site_endpoints SET protocol = 'root' WHERE site_id = :s", s=three.site_ids["T2_A"])
    three.subscription("copy", lfns, "T2_B")
    assert plan_batches(three.db, identity).all == []
    assert three.subscriptions() == {("copy", lfns[0], "T2_B"): "held/refused"}


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
    three.subscription("copy", lfns, "T2_B")
    plan_batches(three.db, identity, TransferLimits())
    used = {row[0] for row in three.rows("SELECT s.name FROM transfers t JOIN sites s ON s.id = t.source_site_id")}
    assert used == ({source} if source else set())
    assert set(three.rows("SELECT state FROM subscriptions")) == {("inbatch" if source else "new",)}


def test_an_urgent_activity_goes_first_and_yet_nothing_waits_for_ever(three: Inventory, identity: FtsIdentity) -> None:
    lfns = three.block("b1", 3)
    three.replica("b1", "T2_A")
    three.subscription("copy", lfns, "T2_B")
    ages = {lfns[0]: ("rebalancing", 30), lfns[1]: ("request", 1), lfns[2]: ("rebalancing", 20)}
    for lfn, (activity, hours) in ages.items():
        three.rows(
            "UPDATE subscriptions SET activity = :a, created_at = now() - :h * interval '1 hour' WHERE file_id = :f",
            a=activity,
            h=hours,
            f=three.file_ids[lfn],
        )
    rules = PlanRules(head_starts={"request": timedelta(hours=24)})
    taken = []
    for _ in lfns:
        plan_batches(three.db, identity, TransferLimits(files_per_cycle=1), rules)
        taken += [
            lfn for (_, lfn, _), state in three.subscriptions().items() if state == "inbatch" and lfn not in taken
        ]
    assert taken == [lfns[0], lfns[1], lfns[2]]  # 30 h before 1 h + 24 h before 20 h
    assert three.rows("SELECT activity FROM transfer_batches ORDER BY id") == [
        ("rebalancing",),
        ("request",),
        ("rebalancing",),
    ]


@pytest.mark.parametrize(
    ("begins", "ends", "is_out"),
    [("-1 hour", None, True), ("-1 hour", "1 hour", True), ("1 hour", None, False), ("-2 hours", "-1 hour", False)],
    ids=["until resumed", "for a while", "not yet", "over"],
)
@pytest.mark.parametrize("site", ["T2_A", "T2_B"], ids=["source", "destination"])
def test_nothing_is_planned_from_or_to_a_site_in_downtime(
    three: Inventory, identity: FtsIdentity, site: str, begins: str, ends: str | None, is_out: bool
) -> None:
    lfns = three.block("b1", 1)
    three.replica("b1", "T2_A")
    three.subscription("copy", lfns, "T2_B")
    three.rows(
        """INSERT INTO site_downtimes (site_id, begins_at, ends_at, reason, created_by)
        VALUES (:s, now() + CAST(:b AS interval), now() + CAST(:e AS interval), 'power cut', 'ada')""",
        s=three.site_ids[site],
        b=begins,
        e=ends,
    )
    assert plan_batches(three.db, identity).num_files == (0 if is_out else 1)
    hold_and_release(three.db)
    assert three.subscriptions()["copy", lfns[0], "T2_B"] == ("held/site_unavailable" if is_out else "inbatch")
    three.rows("UPDATE site_downtimes SET begins_at = now() - interval '3 hours', ends_at = now()")
    hold_and_release(three.db)
    assert three.subscriptions()["copy", lfns[0], "T2_B"] == ("retry" if is_out else "inbatch")


def test_between_some_sites_dynamo_copies_itself(three: Inventory, identity: FtsIdentity) -> None:
    lfns = three.block("b1", 4)
    three.replica("b1", "T2_A")
    three.subscription("copy", lfns, "T2_B")
    three.subscription("copy", lfns, "T2_C")
    rules = PlanRules(direct=(DirectRule(("T2_*",), ("*", "!T2_C")),), direct_protocols=("davs",))
    planned = plan_batches(three.db, identity, TransferLimits(files_per_direct_batch=3), rules)
    assert (len(planned.disk), len(planned.direct)) == (1, 2)
    assert three.rows("SELECT d.name, b.backend FROM transfer_batches b JOIN sites d ON d.id = b.site_id") == [
        ("T2_B", "direct"),
        ("T2_C", "fts"),
        ("T2_B", "direct"),
    ]


def test_without_fts_only_direct_copies_are_planned(three: Inventory) -> None:
    lfns = three.block("b1", 1)
    three.replica("b1", "T2_A")
    three.subscription("copy", lfns, "T2_B")
    three.subscription("copy", lfns, "T2_C")
    rules = PlanRules(direct=(DirectRule(("*",), ("T2_B",)),), direct_protocols=("davs",))
    assert len(plan_batches(three.db, None, rules=rules).direct) == 1
    assert three.subscriptions() == {("copy", lfns[0], "T2_B"): "inbatch", ("copy", lfns[0], "T2_C"): "held/refused"}


def test_no_direct_copy_from_tape(three: Inventory, identity: FtsIdentity) -> None:
    three.site("T1_TAPE", "mss")
    lfns = three.block("b1", 1)
    three.replica("b1", "T1_TAPE")
    three.subscription("copy", lfns, "T2_B")
    planned = plan_batches(three.db, identity, rules=PlanRules(direct=(DirectRule(),), direct_protocols=("davs",)))
    assert (len(planned.tape), planned.direct) == (1, [])


def test_a_subscription_that_is_being_withdrawn_is_left_alone(three: Inventory, identity: FtsIdentity) -> None:
    lfns = three.block("b1", 2)
    three.replica("b1", "T2_A")
    three.subscription("copy", lfns, "T2_B")
    with three.db.begin() as connection:  # not committed while the other plans
        connection.execute(
            text("UPDATE subscriptions SET state = 'cancelled' WHERE file_id = :f"), {"f": three.file_ids[lfns[0]]}
        )
        assert plan_batches(three.db, identity).num_files == 1
    assert sorted(three.subscriptions().values()) == ["cancelled", "inbatch"]


def test_runs_that_plan_at_the_same_time_keep_the_limits_together(three: Inventory, identity: FtsIdentity) -> None:
    lfns = three.block("b1", 40)
    three.replica("b1", "T2_A")
    three.subscription("copy", lfns, "T2_B")
    with ThreadPoolExecutor(4) as threads:
        planned = list(
            threads.map(lambda _: plan_batches(three.db, identity, TransferLimits(files_to_site=15)), range(4))
        )
    assert sorted(plan.num_files for plan in planned) == [0, 0, 0, 15]


def test_several_sources_are_recorded_for_what_failed_repeatedly(three: Inventory, identity: FtsIdentity) -> None:
    lfns = three.block("b1", 1)
    three.replica("b1", "T2_A")
    three.replica("b1", "T2_C")
    three.subscription("copy", lfns, "T2_B")
    three.rows(
        "UPDATE subscriptions SET state = 'retry', num_attempts = 2, updated_at = now() - interval '1 day'",
    )
    plan_batches(three.db, identity)
    ((first, others),) = three.rows("SELECT source_site_id, other_source_site_ids FROM transfers")
    assert {first, *others} == {three.site_ids["T2_A"], three.site_ids["T2_C"]}
    # That job fails for good: both have been tried, so neither is left.
    three.rows("UPDATE transfers SET state = 'failed', is_recoverable = false")
    three.rows("UPDATE transfer_batches SET state = 'finished'")
    three.rows("UPDATE subscriptions SET state = 'retry', updated_at = now() - interval '1 day'")
    assert plan_batches(three.db, identity).num_files == 0
    hold_and_release(three.db)
    assert three.subscriptions() == {("copy", lfns[0], "T2_B"): "held/all_failed"}


def test_batches_of_direct_copies_are_given_up_where_there_are_none_any_more(
    three: Inventory, identity: FtsIdentity
) -> None:
    lfns = three.block("b1", 2)
    three.replica("b1", "T2_A")
    three.subscription("copy", lfns, "T2_B")
    (batch,) = plan_batches(three.db, None, rules=PlanRules(direct=(DirectRule(),), direct_protocols=("davs",))).direct
    with alone(three.db, f"direct batch {batch}"):  # a task is at it
        assert abandon_direct(three.db) == 0
    assert abandon_direct(three.db) == 1
    assert set(three.subscriptions().values()) == {"retry"}
    assert three.rows("SELECT state FROM transfer_batches") == [("cancelled",)]
