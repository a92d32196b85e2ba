"""Failures of a kind are one alert: told at once, counted for some hours, never lost with a process that dies."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from dynamo_ops.alerts import alert as alerts
from dynamo_ops.alerts.alert import Alert, Claim, identity
from dynamo_ops.base.errors import (
    GateError,
    InventoryError,
    PermanentRemoteError,
    RetryableRemoteError,
    SettingsError,
    SourceDataError,
)
from dynamo_ops.database.connection import Database
from dynamo_ops.sources.reading.drop import Drop
from dynamo_ops.sources.usage.day_files import DropOptions, files_of

FAILURE = Alert("failure", "transfers", "submit", "RetryableRemoteError", "FTS answered 503", "service=fts")


def claim(db: Database, alert: Alert = FAILURE) -> Claim:
    return alerts.claim(db, alert, repeat_after_h=6)


def age(db: Database, hours: float) -> None:
    """As if all that happened so far was that long ago."""
    with db.begin() as connection:
        connection.execute(
            text("""
            UPDATE alerts SET first_at = first_at - :ago, last_at = last_at - :ago, told_at = told_at - :ago,
                              claimed_at = claimed_at - :ago"""),
            {"ago": timedelta(hours=hours)},
        )


def test_the_first_is_told_at_once_and_those_soon_after_are_counted(database: Database) -> None:
    first = claim(database)
    assert (first.is_mine, first.num_times, first.num_untold, first.told_at) == (True, 1, 1, None)
    alerts.told(database, first)
    second = claim(database)
    assert (second.is_mine, second.num_times, second.num_untold) == (False, 2, 1)
    assert second.told_at is not None


def test_what_still_happens_hours_later_is_told_again_with_the_number_since(database: Database) -> None:
    alerts.told(database, claim(database))
    for _ in range(3):
        assert not claim(database).is_mine
    age(database, 6.1)
    later = claim(database)
    assert (later.is_mine, later.num_times, later.num_untold) == (True, 5, 4)
    alerts.told(database, later)
    assert claim(database).num_untold == 1


def test_of_a_hundred_at_once_one_is_told(database: Database) -> None:
    databases = [Database(database.url) for _ in range(8)]

    def fail(number: int) -> Claim:
        return claim(databases[number % 8], replace(FAILURE, message=f"number {number}"))

    with ThreadPoolExecutor(8) as threads:
        claims = list(threads.map(fail, range(100)))
    for each in databases:
        each.dispose()
    assert sum(each.is_mine for each in claims) == 1
    assert max(each.num_times for each in claims) == 100
    alerts.told(database, next(each for each in claims if each.is_mine))
    frame = database.frame("SELECT num_times, num_untold, claimed_at IS NULL AS free FROM alerts")
    assert frame.row(0) == (100, 99, True)


def test_what_was_counted_while_a_message_went_out_is_not_told_by_it(database: Database) -> None:
    first = claim(database)
    claim(database)
    claim(database)
    alerts.told(database, first)
    assert database.frame("SELECT num_times, num_untold FROM alerts").row(0) == (3, 2)


def test_a_claim_whose_process_died_is_taken_over_after_minutes_and_its_late_word_is_not_heard(
    database: Database,
) -> None:
    died = claim(database)
    assert not claim(database).is_mine
    age(database, alerts.CLAIM_MINUTES / 60 + 0.01)
    heir = claim(database)
    assert (heir.is_mine, heir.num_untold, heir.told_at) == (True, 3, None)
    alerts.told(database, died)
    alerts.release(database, died)
    assert not claim(database).is_mine
    alerts.told(database, heir)
    assert database.frame("SELECT num_untold FROM alerts").item() == 1


def test_what_got_through_to_nobody_is_tried_again_by_the_next(database: Database) -> None:
    alerts.release(database, claim(database))
    again = claim(database)
    assert (again.is_mine, again.num_untold) == (True, 2)


def test_the_digest_takes_over_what_nobody_was_told_of_and_nothing_that_is_on_its_way(database: Database) -> None:
    names = ("lost", "dead", "alive", "told")
    claims = {name: claim(database, replace(FAILURE, task_id=name)) for name in names}
    alerts.release(database, claims["lost"])
    alerts.told(database, claims["told"])
    age(database, 1)
    alerts.claim(database, replace(FAILURE, task_id="alive"), repeat_after_h=6)
    assert alerts.take_over(database, [each.key for each in claims.values()]) == 2
    told = database.frame("SELECT task_id FROM alerts WHERE told_at IS NOT NULL ORDER BY 1")["task_id"].to_list()
    assert told == ["dead", "lost", "told"]
    assert not claim(database, replace(FAILURE, task_id="lost")).is_mine


def test_old_alerts_go(database: Database) -> None:
    claim(database)
    age(database, 24 * 91)
    claim(database, replace(FAILURE, task_id="apply"))
    assert alerts.forget(database, datetime.now(UTC) - timedelta(days=alerts.KEEP_DAYS)) == 1
    assert database.frame("SELECT task_id FROM alerts").item() == "apply"


def test_a_database_that_is_away_is_said_so() -> None:
    with pytest.raises(RetryableRemoteError, match=r"database postgresql://nobody@127\.0\.0\.1:1/none"):
        claim(Database("postgresql://nobody@127.0.0.1:1/none"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(
            RetryableRemoteError("T2_A answered 503", service="storage", url="davs://a", status=503),
            RetryableRemoteError("T2_B: no answer", service="storage", url="davs://b", status=None),
            id="another site, another number",
        ),
        pytest.param(
            GateError("3 rows", gate="metadata", failures=["size", "lfn"]),
            GateError("8 rows", gate="metadata", failures=["lfn", "size"]),
            id="the same expectations in another order",
        ),
        pytest.param(
            GateError("3 rows", gate="accesses", subject="source 'x' on 2026-01-12", failures=["given"]),
            GateError("3 rows", gate="accesses", subject="source 'x' on 2025-12-31", failures=["given"]),
            id="a gate of another day",
        ),
        pytest.param(
            SourceDataError("no file", source="x", file="/drop/2026/01/12/a.json", day=date(2026, 1, 12)),
            SourceDataError("no file", source="x", file="/drop/of jan 13.json", day=date(2026, 1, 13)),
            id="the file of another day",
        ),
        pytest.param(
            SourceDataError("cut", source="x", file="/drop/20260112.json"),
            SourceDataError("cut", source="x", file="/drop/20260113.json"),
            id="a damaged file of another day",
        ),
    ],
)
def test_the_same(one: Exception, other: Exception) -> None:
    assert identity(one) == identity(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(
            PermanentRemoteError("400", service="fts"), PermanentRemoteError("400", service="storage"), id="service"
        ),
        pytest.param(
            GateError("3 rows", gate="metadata", failures=["size"]),
            GateError("3 rows", gate="metadata", failures=["lfn"]),
            id="expectation",
        ),
        pytest.param(
            SettingsError("x", file="dynamo.yaml", key="a", reason="1"),
            SettingsError("x", file="dynamo.yaml", key="b", reason="1"),
            id="setting",
        ),
        pytest.param(
            SourceDataError("x", source="x", file="/drop/blocks.json"),
            SourceDataError("x", source="x", file="/drop/files.json"),
            id="file without a day",
        ),
        pytest.param(
            GateError("x", gate="accesses", subject="source 'a' on 2026-01-12"),
            GateError("x", gate="accesses", subject="source 'b' on 2026-01-12"),
            id="source of a gate",
        ),
    ],
)
def test_not_the_same(one: Exception, other: Exception) -> None:
    assert identity(one) != identity(other)


def test_an_error_that_nobody_foresaw_is_known_by_where_it_came_from() -> None:
    def caught(call: Callable[[], object]) -> str:
        try:
            call()
        except KeyError as error:
            return identity(error)
        raise AssertionError

    def first(key: str) -> str:
        return {}[key]  # type: ignore[no-any-return]

    def second() -> str:
        return {}["x"]  # type: ignore[no-any-return]

    assert caught(lambda: first("x")) == caught(lambda: first("y")) == "at test_alert.py:first"
    assert caught(second) == "at test_alert.py:second"
    assert identity(None) == identity(KeyError("never raised")) == ""


def test_every_day_that_has_no_drop_is_one_alert(tmp_path: Path) -> None:
    drop, marks = Drop("queue", {}), set()
    for day in (date(2026, 1, 12), date(2026, 1, 13)):
        with pytest.raises(SourceDataError) as caught:
            files_of(drop, [f"{tmp_path}/{{day:%d %b}}.csv"], day, DropOptions())
        marks.add(identity(caught.value))
    assert marks == {"source=queue"}


def test_errors_of_ours_that_name_nothing_to_know_them_by_are_known_by_where_they_came_from() -> None:
    def first(dataset: str) -> None:
        raise InventoryError(f"{dataset}: no such dataset", dataset=dataset)

    def second() -> None:
        raise InventoryError("no plan", plan_id=7)

    marks = []
    for call in (lambda: first("/A/B/C"), lambda: first("/D/E/F"), second):
        with pytest.raises(InventoryError) as caught:
            call()
        marks.append(identity(caught.value))
    assert marks == ["at test_alert.py:first", "at test_alert.py:first", "at test_alert.py:second"]


def test_keys_can_be_read_and_are_never_too_long_for_an_index(database: Database) -> None:
    assert FAILURE.key == "failure transfers.submit RetryableRemoteError service=fts"
    assert Alert("late", "transfers", None, "DeadlineMissed", "text").key == "late transfers DeadlineMissed"
    long, longer = (replace(FAILURE, marks="x" * length) for length in (5_000, 5_001))
    assert len(long.key) < 500
    assert long.key != longer.key
    assert claim(database, long).is_mine
    assert claim(database, longer).is_mine
