"""Quotas: each change is kept, whoever makes it; and what a size is."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.units import parse_size, size_text
from dynamo_ops.database import migrate
from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.inventory.catalogue.injection.writes import Count
from dynamo_ops.inventory.site.quota import read_quotas, set_quotas
from dynamo_ops.query.paging.listing import stream
from dynamo_ops.query.record.quota import QUOTA_CHANGES, QuotaChangeFilter
from tests.people import ADA, BOB, inject

CHANGE = ("site", "partition", "old_bytes", "new_bytes", "changed_by", "reason")


@pytest.fixture
def sites(database: Database) -> Database:
    with database.begin() as connection:
        for name in ("T2_A", "T2_B"):
            connection.execute(
                text("INSERT INTO sites (name, storage_type, status) VALUES (:n, 'disk', 'ready')"), {"n": name}
            )
    return database


def quotas(database: Database) -> dict[tuple[str, str], int]:
    return {row[:2]: row[2] for row in read_quotas(database).select("site", "partition", "quota_bytes").iter_rows()}


def changes(database: Database) -> list[tuple[object, ...]]:
    """Oldest first."""
    _, pieces = stream(database, QUOTA_CHANGES, QuotaChangeFilter(), CHANGE)
    return [row for piece in pieces for row in piece][::-1]


def test_each_change_is_kept_with_old_and_new(sites: Database) -> None:
    for amount in (500, 0, None, -1):
        assert set_quotas(sites, ["T2_A"], "P", amount, by=ADA, reason=" why ") == 1
    assert changes(sites) == [
        ("T2_A", "P", None, 500, "ada", "why"),
        ("T2_A", "P", 500, 0, "ada", "why"),
        ("T2_A", "P", 0, None, "ada", "why"),
        ("T2_A", "P", None, -1, "ada", "why"),
    ]
    assert quotas(sites) == {("T2_A", "P"): -1}


def test_what_is_so_already_is_no_change(sites: Database) -> None:
    assert set_quotas(sites, ["T2_A"], "P", None, by=ADA, reason="r") == 0
    assert set_quotas(sites, ["T2_A"], "P", 7, by=ADA, reason="r") == 1
    assert set_quotas(sites, ["T2_A", "T2_B"], "P", 7, by=BOB, reason="r") == 1
    assert [row[0] for row in changes(sites)] == ["T2_A", "T2_B"]
    assert read_quotas(sites)["changed_by"].to_list() == ["ada", "bob"]


def test_other_partitions_and_sites_keep_theirs(sites: Database) -> None:
    set_quotas(sites, ["T2_A", "T2_B"], "P", 7, by=ADA, reason="r")
    set_quotas(sites, ["T2_A"], "Q", 8, by=ADA, reason="r")
    set_quotas(sites, ["T2_A"], "P", None, by=ADA, reason="r")
    assert quotas(sites) == {("T2_A", "Q"): 8, ("T2_B", "P"): 7}


@pytest.mark.parametrize(
    ("names", "amount", "reason", "message"),
    [
        (["T2_A", "T9_X"], 1, "r", "unknown site 'T9_X'"),
        (["T2_A"], 1, " ", "say why"),
        (["T2_A"], 2**63, "r", "more than a quota can be"),
    ],
    ids=["unknown site", "no reason", "too large"],
)
def test_what_is_wrong_changes_nothing(
    sites: Database, names: list[str], amount: int, reason: str, message: str
) -> None:
    with pytest.raises(InventoryError, match=message):
        set_quotas(sites, names, "P", amount, by=ADA, reason=reason)
    assert quotas(sites) == {}
    assert changes(sites) == []


def test_injected_quotas_are_kept_as_changes_once(sites: Database) -> None:
    document = {"quotas": [{"site": site, "partition": "P", "quota_bytes": 100} for site in ("T2_B", "T2_A")]}
    assert [inject(sites, document).quotas.written for _ in range(2)] == [2, 0]
    set_quotas(sites, ["T2_A"], "P", 5, by=ADA, reason="less")
    assert inject(sites, document).quotas == Count(0, 1, 1)
    assert changes(sites) == [
        ("T2_A", "P", None, 100, "test", "injected"),
        ("T2_B", "P", None, 100, "test", "injected"),
        ("T2_A", "P", 100, 5, "ada", "less"),
        ("T2_A", "P", 5, 100, "test", "injected"),
    ]


def test_a_dry_run_of_an_injection_keeps_no_change(sites: Database) -> None:
    document = {"quotas": [{"site": "T2_A", "partition": "P", "quota_bytes": 100}]}
    assert inject(sites, document, dry_run=True).quotas.written == 1
    assert changes(sites) == []


def test_a_change_that_is_taken_back_leaves_no_trace(sites: Database) -> None:
    with pytest.raises(InventoryError):
        inject(sites, {"quotas": [{"site": s, "partition": "P", "quota_bytes": 1} for s in ("T2_A", "T9_X")]})
    assert (quotas(sites), changes(sites)) == ({}, [])


def test_quotas_from_before_changes_were_kept_begin_the_history(postgres: EmbeddedPostgres) -> None:
    from alembic import command

    postgres.create_database("quotas_upgraded")
    database = Database(postgres.url("quotas_upgraded"))
    with database.engine.connect() as connection:
        command.upgrade(migrate._config(database, connection), "0003")
    with database.begin() as connection:
        connection.execute(text("INSERT INTO sites (name, storage_type, status) VALUES ('T2_A', 'disk', 'ready')"))
        connection.execute(
            text("""INSERT INTO quotas (site_id, partition, quota_bytes, changed_by, changed_at)
                    SELECT id, 'P', 9, 'eve', '2026-01-02 00:00+00' FROM sites""")
        )
    migrate.upgrade(database)
    assert changes(database) == [("T2_A", "P", None, 9, "eve", "set before changes were kept")]
    _, pieces = stream(database, QUOTA_CHANGES, QuotaChangeFilter(), ["changed_at"])
    assert [at.date() for piece in pieces for (at,) in piece] == [read_quotas(database)["changed_at"].dt.date()[0]]
    assert quotas(database) == {("T2_A", "P"): 9}
    database.dispose()
    postgres.drop_database("quotas_upgraded")


@pytest.mark.parametrize(
    ("given", "size_bytes"),
    [
        ("500 TB", 500 * 10**12),
        ("1.2PB", 12 * 10**14),
        ("5000", 5000),
        ("0", 0),
        (" 3 kb ", 3000),
        ("0.000001 MB", 1),
        ("9223.372036854775807 PB", 2**63 - 1),
    ],
)
def test_a_size_is_read_to_the_byte(given: str, size_bytes: int) -> None:
    assert parse_size(given) == size_bytes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("much", "'much' is no size"),
        ("", "'' is no size"),
        ("-5 TB", "'-5 TB' is no size"),
        ("1,5 TB", "'1,5 TB' is no size"),
        ("5 TiB", "unknown unit 'TiB'; units are B, kB, MB, GB, TB, PB"),
        ("0.4 B", "'0.4 B' is 0.4 bytes, no whole number"),
    ],
)
def test_what_is_no_size_is_refused(given: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_size(given)


@pytest.mark.parametrize("size_bytes", [0, 999, 1000, 123_450_000, 14_200_000_000_000])
def test_what_is_shown_can_be_read(size_bytes: int) -> None:
    assert parse_size(size_text(size_bytes)) == size_bytes
