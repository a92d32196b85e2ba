"""Sums by hour are those of a recount, whoever ends an attempt, folded or not; and are mended where they are not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st
from sqlalchemy import text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.database.locks import alone
from dynamo_ops.inventory.subscription import hours
from dynamo_ops.query.movement.series import Span, deletion_series, errors, links, transfer_series
from dynamo_ops.transfer.server.closing import close_batch
from tests.inventory.factory import SIZE, Inventory

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEPT = """
    SELECT hour, source_site_id, site_id, outcome, error_class, sum(CASE WHEN is_removed THEN -num_files
           ELSE num_files END), sum(CASE WHEN is_removed THEN -size_bytes ELSE size_bytes END),
           sum(CASE WHEN is_removed THEN -num_seconds ELSE num_seconds END)
    FROM (SELECT hour, source_site_id, site_id, outcome, error_class, num_files, size_bytes, num_seconds, is_removed
          FROM transfer_hours
          UNION ALL SELECT hour, -1, site_id, outcome, error_class, num_files, size_bytes, num_seconds, is_removed
          FROM deletion_hours) AS ended
    GROUP BY 1, 2, 3, 4, 5 HAVING sum(CASE WHEN is_removed THEN -num_files ELSE num_files END) <> 0
    ORDER BY 1, 2, 3, 4, 5"""
COUNTED = """
    SELECT date_trunc('hour', finished_at, 'UTC'), source, site_id, state,
           CASE WHEN state <> 'failed' THEN ''
                WHEN source = -1 THEN CASE WHEN is_recoverable IS FALSE THEN 'refused' ELSE 'unavailable' END
                WHEN reason ~ '^SOURCE \\[2\\]' THEN 'SOURCE [2]' ELSE 'other' END,
           count(*), sum(size_bytes), sum(CAST(round(extract(epoch FROM coalesce(finished_at - began, '0'))) AS bigint))
    FROM (SELECT t.finished_at, t.source_site_id AS source, b.site_id, t.state, t.is_recoverable, t.reason,
                 t.size_bytes, t.started_at AS began
          FROM transfers AS t JOIN transfer_batches AS b ON b.id = t.batch_id
          WHERE t.state IN ('done', 'failed', 'cancelled')
          UNION ALL
          SELECT d.finished_at, -1, b.site_id, d.state, d.is_recoverable, d.reason, d.size_bytes, d.claimed_at
          FROM deletions AS d JOIN deletion_batches AS b ON b.id = d.batch_id WHERE d.state <> 'planned') AS ended
    GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5"""


def assert_hours_as_counted(stock: Inventory) -> list[Any]:
    """Of all that ended; returns the sums."""
    kept = stock.rows(KEPT)
    assert kept == stock.rows(COUNTED)
    return kept


@pytest.fixture
def stock(inventory: Inventory) -> Inventory:
    """Three sites; a batch of copies to T2_A and one of deletions at T2_B, of ten files each: nothing has ended."""
    for name in ("T2_A", "T2_B", "T2_C"):
        inventory.site(name)
    inventory.block("b1", 10)
    inventory.subscription("copy", inventory.files_of["b1"], "T2_A")
    inventory.subscription("delete", inventory.files_of["b1"], "T2_B")
    inventory.rows(
        """WITH batch AS (INSERT INTO transfer_batches (sid, job_id, site_id, is_staging)
                          VALUES ('s', gen_random_uuid(), :a, false) RETURNING id)
           INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, size_bytes, started_at)
           SELECT batch.id, s.id, s.id, CASE WHEN s.id % 2 = 0 THEN CAST(:b AS int) ELSE :c END, 1000,
                  CASE WHEN s.id % 3 > 0 THEN CAST(:noon AS timestamptz) END
           FROM batch, subscriptions AS s WHERE s.action = 'copy'""",
        a=inventory.site_ids["T2_A"],
        b=inventory.site_ids["T2_B"],
        c=inventory.site_ids["T2_C"],
        noon=NOON,
    )
    inventory.rows(
        """WITH batch AS (INSERT INTO deletion_batches (site_id) VALUES (:b) RETURNING id)
           INSERT INTO deletions (batch_id, subscription_id, size_bytes, claimed_at)
           SELECT batch.id, s.id, 1000, CAST(:noon AS timestamptz)
           FROM batch, subscriptions AS s WHERE s.action = 'delete'""",
        b=inventory.site_ids["T2_B"],
        noon=NOON,
    )
    return inventory


def end(stock: Inventory, table: str, number: int, state: str, minutes: int = 30, reason: str | None = None) -> None:
    """Of the table's attempts the ``number``-th."""
    stock.rows(
        f"""UPDATE {table} SET state = :state, reason = :reason, is_recoverable = :reason LIKE '%again%',
                   finished_at = CAST(:noon AS timestamptz) + make_interval(mins => :minutes)
            WHERE id = (SELECT id FROM {table} ORDER BY id OFFSET :number LIMIT 1)""",
        state=state,
        reason=reason,
        noon=NOON,
        minutes=minutes,
        number=number,
    )


@pytest.mark.parametrize("is_folded", [False, True], ids=["noted", "folded"])
def test_what_ends_is_counted_by_hour_and_link(stock: Inventory, is_folded: bool) -> None:
    assert stock.rows(KEPT) == []
    for number in range(4):
        end(stock, "transfers", number, "done", 10 * number)
    end(stock, "transfers", 4, "failed", 61, "SOURCE [2] no such file")
    end(stock, "transfers", 5, "failed", 62, "FTS does not know the job")
    end(stock, "transfers", 6, "cancelled", 63, "SOURCE [2] whatever was before")
    end(stock, "deletions", 0, "done")
    end(stock, "deletions", 1, "gone")
    end(stock, "deletions", 2, "failed", 61, "503, again")
    end(stock, "deletions", 3, "failed", 61, "403")
    if is_folded:
        hours.fold(stock.db, NOON)
        assert stock.rows("SELECT count(*) FROM transfer_hours") == [(5,)]
    assert len(assert_hours_as_counted(stock)) == 9
    span = Span(since=NOON.isoformat())
    by_outcome = transfer_series(stock.db, span, ["outcome"]).rows()
    one = NOON + timedelta(hours=1)
    assert [row[:4] for row in by_outcome] == [
        (NOON, "done", 4, 4 * SIZE),
        (one, "cancelled", 1, SIZE),
        (one, "failed", 2, 2 * SIZE),
    ]
    assert transfer_series(stock.db, span, step="day")["num_files"].to_list() == [7]
    assert transfer_series(stock.db, Span(one.isoformat(), sources=["T2_B"]), outcomes=["failed"]).height == 1
    assert transfer_series(stock.db, Span(NOON.isoformat(), one.isoformat()), ["site"]).rows()[0][1:3] == ("T2_A", 4)
    assert transfer_series(stock.db, Span(NOON.isoformat(), sites=["T2_B"])).is_empty()
    by_link = {row["source"]: row for row in links(stock.db, span).to_dicts()}
    assert {name: (row["num_done"], row["num_failed"]) for name, row in by_link.items()} == {
        "T2_B": (2, 1),
        "T2_C": (2, 1),
    }
    assert by_link["T2_B"]["failed_fraction"] == pytest.approx(1 / 3)
    seconds = sum(row["num_seconds"] for row in by_link.values())
    assert seconds == sum(row[4] for row in by_outcome if row[1] == "done") > 0
    assert by_link["T2_C"]["bytes_per_s"] is None  # of the two none says when it began, or took a second
    assert by_link["T2_B"]["bytes_per_s"] == 2 * SIZE / seconds
    assert {(row["error"], row["source"]) for row in errors(stock.db, span).to_dicts()} == {
        ("SOURCE [2]", "T2_C"),
        ("other", "T2_B"),
    }
    assert deletion_series(stock.db, span, ["error"], outcomes=["failed"]).rows() == [
        (one, "refused", 1, SIZE, 61 * 60),
        (one, "unavailable", 1, SIZE, 61 * 60),
    ]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda db: transfer_series(db, Span(), ["size"]), "no part to sum by: these are source"),
        (lambda db: deletion_series(db, Span(), ["source"]), "no part to sum by"),
        (lambda db: transfer_series(db, Span(), step="week"), "no step: these are hour, day"),
        (lambda db: transfer_series(db, Span(), outcomes=["dome"]), "Did you mean done"),
        (lambda db: deletion_series(db, Span("soon")), "since: "),
        (lambda db: links(db, Span(sites=["T2_X"])), "there is no site 'T2_X'"),
    ],
)
def test_what_cannot_be_asked_is_told(stock: Inventory, ask: Any, message: str) -> None:
    with pytest.raises(InventoryError, match=message):
        ask(stock.db)


def test_a_series_has_an_end(stock: Inventory, monkeypatch: pytest.MonkeyPatch) -> None:
    from dynamo_ops.query.movement import series

    monkeypatch.setattr(series, "MOST_ROWS", 1)
    end(stock, "transfers", 0, "done")
    end(stock, "transfers", 1, "done", 90)
    with pytest.raises(InventoryError, match="more than 1 rows"):
        transfer_series(stock.db, Span(NOON.isoformat()))


def test_a_batch_that_is_given_up_is_counted_by_who_does_it(stock: Inventory) -> None:
    close_batch(stock.db, stock.scalar("SELECT id FROM transfer_batches"), "FTS will not take it")
    assert sum(row[5] for row in assert_hours_as_counted(stock)) == 10
    assert {row[3] for row in stock.rows(KEPT)} == {"cancelled"}


def test_what_is_rolled_back_is_not_counted(stock: Inventory) -> None:
    with stock.db.begin() as connection:
        connection.execute(text("UPDATE transfers SET state = 'done', finished_at = now()"))
        assert connection.execute(text("SELECT sum(num_files) FROM transfer_hours")).scalar() == 10
        connection.rollback()
    assert assert_hours_as_counted(stock) == []


def test_what_leaves_the_inventory_has_moved_all_the_same(stock: Inventory) -> None:
    end(stock, "transfers", 0, "done")
    end(stock, "deletions", 0, "done")
    stock.rows("DELETE FROM transfers")
    stock.rows("DELETE FROM deletions")
    assert assert_hours_as_counted(stock) == []
    assert hours.check(stock.db, NOON) == 0
    for series in (transfer_series, deletion_series):
        assert series(stock.db, Span(NOON.isoformat()))["num_files"].to_list() == [1]


def test_wrong_sums_are_mended_and_told(stock: Inventory, caplog: pytest.LogCaptureFixture) -> None:
    end(stock, "transfers", 0, "done")
    end(stock, "deletions", 0, "done")
    assert hours.keep(stock.db, NOON) == {"num_wrong_hours": 0}
    stock.rows("UPDATE transfer_hours SET size_bytes = 7")
    stock.rows("DELETE FROM deletion_hours")
    with caplog.at_level(logging.WARNING):
        assert hours.keep(stock.db, NOON) == {"num_wrong_hours": 2}
    assert "2 sums of copies and deletions by hour were wrong" in caplog.text
    assert_hours_as_counted(stock)
    assert stock.rows("SELECT count(*) FROM transfer_hours") == [(1,)]
    with alone(stock.db, hours.FOLDING) as mine:
        assert mine is not None
        assert hours.check(stock.db, NOON) is None
        assert hours.keep(stock.db, NOON) == {}


def test_old_hours_are_left_as_they_are_and_removed_in_time(stock: Inventory) -> None:
    end(stock, "transfers", 0, "done")
    stock.rows("DELETE FROM transfer_hours")
    assert hours.check(stock.db, NOON + timedelta(days=5)) == 0
    assert hours.check(stock.db, NOON + timedelta(days=1)) == 1
    assert hours.prune(stock.db, before=NOON) == 0
    assert hours.prune(stock.db, before=NOON + timedelta(hours=1)) == 1


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["transfers", "deletions", "fold", "remove", "touch"]),
        st.integers(0, 9),
        st.sampled_from(["done", "failed"]),
        st.integers(0, 200),
        st.sampled_from([None, "SOURCE [2] no", "again", "source [2]", "TRANSFER_ [x]"]),
    ),
    max_size=25,
)


@pytest.fixture(scope="module")
def many(postgres: EmbeddedPostgres) -> Iterator[Database]:
    postgres.create_database("hours", template="dynamo_template")
    database = Database(postgres.url("hours"))
    yield database
    database.dispose()
    postgres.drop_database("hours")


@pytest.fixture(scope="module")
def inventory_of_many(many: Database) -> Inventory:
    return stock.__wrapped__(Inventory(many))  # type: ignore[attr-defined, no-any-return]


@trials(max_examples=30, deadline=None)
@given(acts=ACTS)
def test_after_any_acts_the_sums_are_those_of_a_recount(inventory_of_many: Inventory, acts: list[Any]) -> None:
    stock = inventory_of_many
    for table, number, state, minutes, reason in acts:
        if table == "fold":
            hours.fold(stock.db, NOON)
        elif table == "remove":
            stock.rows("DELETE FROM transfers WHERE id = (SELECT min(id) FROM transfers WHERE state <> 'planned')")
        elif table == "touch":
            stock.rows("UPDATE transfers SET other_source_site_ids = '{1}'")
        else:
            end(stock, table, number, state, minutes, reason if state == "failed" else None)
    assert_hours_as_counted(stock)
    assert hours.check(stock.db, NOON) == 0
