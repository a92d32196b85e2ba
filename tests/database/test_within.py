"""Transactions that are parts of an open one: kept with it, or taken back alone."""

from __future__ import annotations

from contextlib import suppress

import pytest
from sqlalchemy import Connection, text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.database.within import Within

NEW_GROUP = "INSERT INTO groups (name, ownership_level) VALUES (:name, 'block')"


def add(connection: Connection, name: str) -> None:
    connection.execute(text(NEW_GROUP), {"name": name})


def names(database: Database) -> list[str]:
    return list(database.frame("SELECT name FROM groups ORDER BY name")["name"])


def test_parts_are_kept_with_the_whole(database: Database) -> None:
    with database.begin() as connection:
        within = Within(database, connection)
        for name in ("a", "b"):
            with within.begin() as part:
                add(part, name)
        with within.begin() as part:
            assert part.execute(text("SELECT count(*) FROM groups")).scalar_one() == 2
        assert names(within) == []  # frames see what was committed before
    assert names(database) == ["a", "b"]


def test_a_whole_that_fails_keeps_nothing(database: Database) -> None:
    with suppress(ZeroDivisionError), database.begin() as connection:
        with Within(database, connection).begin() as part:
            add(part, "a")
        raise ZeroDivisionError
    assert names(database) == []


@pytest.mark.parametrize("error", [InventoryError("no"), ZeroDivisionError(), KeyboardInterrupt()])
def test_a_part_that_fails_is_taken_back_alone(database: Database, error: BaseException) -> None:
    with database.begin() as connection:
        within = Within(database, connection)
        with suppress(type(error)), within.begin() as part:
            add(part, "a")
            raise error
        with suppress(Exception), within.begin() as part:
            part.execute(text("SELECT 1 / 0"))
        with within.begin() as part:
            add(part, "b")
    assert names(database) == ["b"]


def test_advisory_locks_are_those_of_the_whole_in_their_order(database: Database) -> None:
    with database.begin() as connection:
        within = Within(database, connection)
        with within.begin() as part:
            hold(part, Lock.REQUESTS)
        with pytest.raises(AssertionError, match="is taken before"), within.begin() as part:
            hold(part, Lock.INVENTORY)


def test_what_is_to_be_written_apart_waits(database: Database) -> None:
    with database.begin() as connection:
        within = Within(database, connection, is_trial=True)
        within.apart(lambda other: add(other, "note"))
        connection.rollback()
    assert (names(database), within.is_trial, database.is_trial) == ([], True, False)
    for note in within.notes:
        database.apart(note)
    assert names(database) == ["note"]
