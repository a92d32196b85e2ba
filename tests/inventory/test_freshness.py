"""What is still to come is not known, and nothing is younger than nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from alembic import command
from sqlalchemy import text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.settings import Settings
from dynamo_ops.database import migrate
from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.inventory.freshness import (
    CLOCK_SKEW,
    accesses_ages,
    metadata_ages,
    refuse_day_to_come,
    refuse_future,
)
from dynamo_ops.popularity import tasks as popularity
from dynamo_ops.popularity.days import DayOfSource
from dynamo_ops.sources import tasks as sources
from tests.inventory.told import block, dataset, file, merge

MINUTE = timedelta(minutes=1)


def test_what_is_to_come_is_refused_with_both_times(database: Database) -> None:
    now = database.clock()
    refuse_future(database, now - timedelta(days=900), "the interval of the run ends at")
    refuse_future(database, now + CLOCK_SKEW - MINUTE, "the interval of the run ends at")
    said = rf"the interval of the run ends at 2099-01-01T00:00Z, which is still to come: .* it is {now.year}-\d\d-\d\dT"
    with pytest.raises(InventoryError, match=said) as caught:
        refuse_future(database, datetime(2099, 1, 1, tzinfo=UTC), "the interval of the run ends at")
    assert abs(caught.value.facts["now"] - now) < MINUTE


def test_a_day_is_refused_until_it_has_begun(database: Database) -> None:
    today = database.clock().date()
    refuse_day_to_come(database, today)
    with pytest.raises(InventoryError, match=f"the day {today + timedelta(days=2)} begins at .* still to come"):
        refuse_day_to_come(database, today + timedelta(days=2))


def test_a_merge_of_an_interval_to_come_changes_nothing(database: Database) -> None:
    """Afterwards nothing that the source tells would be newer."""
    soon = database.clock() + timedelta(days=365)
    with pytest.raises(InventoryError, match=r"what dbs tells would be known until .* still to come"):
        merge(database, [dataset()], [block("b1")], [file("/a/1")], until=soon)
    assert database.frame("SELECT 1 FROM datasets UNION ALL SELECT 1 FROM source_states").is_empty()
    merge(database, [dataset()], [block("b1")], [file("/a/1")], until=database.clock())
    assert database.frame("SELECT count(*) FROM files").item() == 1


SOON = datetime(2099, 1, 1, tzinfo=UTC)
DAY = DayOfSource("2099-01-01", "monit", "accesses")
ACTS: dict[str, Callable[[Database], object]] = {
    "pull": lambda db: sources.pull_datasets(db, Settings(), "run", "dbs", SOON, SOON),
    "merge": lambda db: sources.merge(db, "run", ["dbs"], [], SOON),
    "pull a day": lambda db: popularity.pull(db, Settings(), "run", DAY),
    "replace a day": lambda db: popularity.replace_day(db, "run", DAY),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_no_task_asks_for_what_is_to_come(database: Database, act: Callable[[Database], object]) -> None:
    with pytest.raises(InventoryError, match="2099-01-01T00:00Z, which is still to come"):
        act(database)


def test_what_runs_for_dates_ahead_have_left_is_mended(postgres: EmbeddedPostgres) -> None:
    postgres.create_database("times_to_come")
    database = Database(postgres.url("times_to_come"))
    with database.engine.connect() as connection:
        command.upgrade(migrate._config(database, connection), "0024")
    with database.begin() as connection:
        connection.execute(
            text("INSERT INTO source_states (source, merged_until, updated_at) VALUES ('dbs', '2099-01-01', now())")
        )
        connection.execute(
            text("INSERT INTO source_states (source, merged_until, updated_at) VALUES ('lab', '2026-03-01', now())")
        )
    migrate.upgrade(database)
    mended = database.frame("SELECT source, merged_until <= now(), full_until FROM source_states ORDER BY 1").rows()
    assert mended == [("dbs", True, None), ("lab", True, None)]
    assert database.frame("SELECT merged_until::date FROM source_states WHERE source = 'lab'").item() == date(
        2026, 3, 1
    )
    database.dispose()
    postgres.drop_database("times_to_come")


def test_ages_are_not_below_nothing(database: Database) -> None:
    """Of a merge of before such intervals were refused, and of the day that has not ended."""
    with database.begin() as connection:
        connection.execute(
            text("""
            INSERT INTO source_states (source, merged_until, updated_at)
            VALUES ('dbs', now() + interval '9 years', now() + interval '1 hour')""")
        )
        connection.execute(
            text("""
            INSERT INTO aggregated_days (day, source, kind, num_told, most_told, aggregated_at)
            VALUES ((now() AT TIME ZONE 'UTC')::date, 'monit', 'accesses', 0, 0, now())""")
        )
    assert metadata_ages(database, ["dbs", "lab"])["age_h"].to_list() == [0, None]
    assert accesses_ages(database, ["monit", "lab"])["age_h"].to_list() == [0, None]
