"""Sums by what is asked for, now and by day; cards of groups and sites, which are made of them."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.inventory.replica.usage import fold, record_day
from dynamo_ops.inventory.site.downtime import drain
from dynamo_ops.query.group import OWNED, OwnedFilter, group_card
from dynamo_ops.query.paging.listing import Window, read_page
from dynamo_ops.query.site_card import site_card
from dynamo_ops.query.usage import usage_by_day, usage_now
from tests.inventory.factory import SIZE
from tests.people import ADA
from tests.query.stock import FIRST, SECOND, Stock

DAY = date(2026, 3, 1)


@pytest.mark.parametrize("is_folded", [False, True], ids=["noted", "folded"])
def test_usage_is_summed_by_what_is_asked_for(stock: Stock, is_folded: bool) -> None:
    if is_folded:
        fold(stock.db)
    assert usage_now(stock.db).rows() == [
        ("T1_Tape", 2, 2, 4 * SIZE, 4 * SIZE),
        ("T2_A", 2, 2, 4 * SIZE, 4 * SIZE),
        ("T2_B", 2, 2, 5 * SIZE, 5 * SIZE),
        ("T2_C", 1, 0, SIZE, 2 * SIZE),
    ]
    assert usage_now(stock.db, ["group", "tier"]).rows() == [
        ("none", "AOD", 1, 0, SIZE, 2 * SIZE),
        ("ops", "AOD", 5, 5, 10 * SIZE, 10 * SIZE),
        ("users", "RAW", 1, 1, 3 * SIZE, 3 * SIZE),
    ]
    narrowed = usage_now(stock.db, ["status", "release"], sites=["T2_[BC]*"], groups=["users", "none"])
    assert [row[:3] for row in narrowed.rows()] == [("production", "CMSSW_9", 1), ("valid", "none", 1)]


def test_days_are_those_that_were_recorded(stock: Stock) -> None:
    record_day(stock.db, DAY)
    stock.rows("DELETE FROM block_replicas WHERE site_id = :s", s=stock.site_ids["T2_A"])
    record_day(stock.db, date(2026, 3, 2))
    by_day = usage_by_day(stock.db, DAY, ["group"], groups=["ops"])
    assert [row[:3] for row in by_day.rows()] == [("2026-03-01", "ops", 5), ("2026-03-02", "ops", 3)]
    assert usage_by_day(stock.db, date(2026, 3, 2))["day"].unique().to_list() == ["2026-03-02"]
    assert usage_by_day(stock.db, date(2026, 3, 3)).is_empty()


@pytest.mark.parametrize(
    ("by", "message"),
    [(["size"], "by 'size': by site"), (["realease"], "Did you mean release"), ([], "say what")],
    ids=str,
)
def test_what_cannot_be_summed_by_is_told(stock: Stock, by: list[str], message: str) -> None:
    with pytest.raises(InventoryError, match=message):
        usage_now(stock.db, by)
    with pytest.raises(InventoryError, match="by 'release'"):
        usage_by_day(stock.db, DAY, ["release"])
    with pytest.raises(InventoryError, match="there is no group"):
        usage_now(stock.db, groups=["opps"])


def test_a_group_has_a_card_and_a_list_of_what_it_owns(stock: Stock) -> None:
    stock.rows("INSERT INTO group_quotas (group_id, quota_bytes, changed_by) VALUES (:g, 9000, 'me')", g=stock.group_id)
    card = group_card(stock.db, "ops")
    assert card.group == {
        "group": "ops",
        "ownership_level": "dataset",
        "quota_bytes": 9000,
        "unique_bytes": 4 * SIZE,
        "free_bytes": 5000,
    }
    assert [(site["site"], site["num_datasets"], site["size_bytes"]) for site in card.sites] == [
        ("T1_Tape", 1, 4 * SIZE),
        ("T2_A", 1, 4 * SIZE),
        ("T2_B", 1, 2 * SIZE),
    ]
    assert card.largest == [{"dataset": FIRST, "num_sites": 3, "size_bytes": 10 * SIZE}]
    page = read_page(stock.db, OWNED, OwnedFilter("ops", sites=["T2_*"]), Window(1))
    (row,) = page.records()
    assert (row["dataset"], row["site"], row["num_blocks"], row["num_blocks_of_dataset"]) == (FIRST, "T2_A", 2, 2)
    following = read_page(stock.db, OWNED, OwnedFilter("ops", sites=["T2_*"]), Window(9, page.next))
    assert [(row["site"], row["num_blocks"]) for row in following.records()] == [("T2_B", 1)]
    assert read_page(stock.db, OWNED, OwnedFilter("ops", datasets=["/A/B_v1*"]), Window()).rows == []
    for name in ("opps", "op*"):
        with pytest.raises(InventoryError, match=r"Did you mean ops|not a glob"):
            group_card(stock.db, name)


def test_a_site_has_a_card(stock: Stock) -> None:
    stock.rows(
        "INSERT INTO quotas (site_id, partition, quota_bytes, changed_by) VALUES (:s, 'all', 9000, 'me')",
        s=stock.site_ids["T2_B"],
    )
    drain(stock.db, "T2_B", by=ADA, reason="new disks")
    check = stock.scalar(
        """INSERT INTO consistency_checks (run_key, site_id, state, storage_listed_at)
           VALUES ('r', :s, 'compared', now()) RETURNING id""",
        s=stock.site_ids["T2_B"],
    )
    stock.rows(
        """INSERT INTO consistency_findings (check_id, kind, state, lfn, size_bytes)
           VALUES (:c, 'orphan', 'found', '/x', 1), (:c, 'orphan', 'found', '/y', 1)""",
        c=check,
    )
    card = site_card(stock.db, "T2_B")
    assert (card.site["status"], card.site["is_writable"], card.site["downtime"]) == ("ready", False, "new disks")
    assert (card.site["num_datasets"], card.site["num_blocks"], card.site["size_bytes"]) == (2, 2, 5 * SIZE)
    assert [(row["partition"], row["quota_bytes"], row["plan_id"]) for row in card.partitions] == [("all", 9000, None)]
    assert [(row["group"], row["size_bytes"]) for row in card.groups] == [("ops", 2 * SIZE), ("users", 3 * SIZE)]
    assert [row["dataset"] for row in card.largest] == [SECOND, FIRST]
    assert [row["reason"] for row in card.downtimes] == ["new disks"]
    assert card.check is not None
    assert (card.check["state"], card.check["findings"]) == ("compared", {"orphan": 2})
    empty = site_card(stock.db, "T1_Tape")
    assert (empty.check, empty.downtimes, empty.partitions) == (None, [], [])
    with pytest.raises(InventoryError, match="there is no site 'T2_X'"):
        site_card(stock.db, "T2_X")


def test_what_nobody_reads_is_told_by_how_long(stock: Stock) -> None:
    stock.rows("INSERT INTO attributes (name, producer, produced_at) VALUES ('last_access', 'test', now())")
    stock.rows(
        """INSERT INTO dataset_attributes (name, dataset_id, value)
           VALUES ('last_access', 1, extract(epoch FROM now() - interval '100 days'))"""
    )
    idle = {row["idle"]: row["size_bytes"] for row in usage_now(stock.db, ["idle"]).to_dicts()}
    (all_of_it,) = usage_now(stock.db, ["status"]).select(pl.col("size_bytes").sum())["size_bytes"]
    assert set(idle) == {"91 to 180 days", "never read"}
    assert sum(idle.values()) == all_of_it
    with pytest.raises(InventoryError, match="idle"):
        usage_by_day(stock.db, date(2026, 1, 1), ["idle"])
