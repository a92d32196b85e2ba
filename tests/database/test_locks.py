"""Advisory locks: named in one place, taken in one order, held until the end of the transaction."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import text

from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import Lock, alone, hold
from tests import ROOT

HELD = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"


def is_free(db: Database, lock: Lock, *names: object, shared: bool = False) -> bool:
    """Whether somebody else could take it now."""
    with db.begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '200ms'"))
        try:
            hold(connection, lock, *names, shared=shared)
        except Exception:
            connection.rollback()
            return False
        return True


def test_a_lock_is_held_until_the_end_of_the_transaction(database: Database) -> None:
    with database.begin() as connection:
        hold(connection, Lock.DELETIONS)
        assert not is_free(database, Lock.DELETIONS)
        assert is_free(database, Lock.REQUESTS)
    assert is_free(database, Lock.DELETIONS)


def test_a_lock_with_a_name_is_one_of_many(database: Database) -> None:
    with database.begin() as connection:
        hold(connection, Lock.PARTITION, "physics")
        assert not is_free(database, Lock.PARTITION, "physics")
        assert is_free(database, Lock.PARTITION, "express")


def test_shared_locks_keep_only_the_others_out(database: Database) -> None:
    with database.begin() as connection:
        hold(connection, Lock.INVENTORY, shared=True)
        assert is_free(database, Lock.INVENTORY, shared=True)
        assert not is_free(database, Lock.INVENTORY)


def test_another_order_than_that_of_the_list_is_refused(database: Database) -> None:
    with database.begin() as connection:
        hold(connection, Lock.REQUESTS)
        with pytest.raises(AssertionError, match=r"Lock\.DELETIONS is taken before Lock\.REQUESTS, not after it"):
            hold(connection, Lock.DELETIONS)
        hold(connection, Lock.REQUESTS)  # the same again is no other order


def test_each_transaction_begins_anew(database: Database) -> None:
    for lock in (Lock.REQUESTS, Lock.PARTITION):
        with database.begin() as connection:
            hold(connection, lock, "physics")


def test_no_two_locks_are_one(database: Database) -> None:
    with database.begin() as connection:
        for lock in Lock:
            hold(connection, lock, "name")
        assert connection.execute(text(HELD)).scalar_one() == len(Lock)


def test_one_task_at_a_time_and_the_next_is_not_made_to_wait(database: Database) -> None:
    with alone(database, "transfer batch 7") as first:
        assert first is not None
        with alone(database, "transfer batch 7") as second, alone(database, "transfer batch 8") as other:
            assert second is None
            assert other is not None
    with alone(database, "transfer batch 7") as again:
        assert again is not None


def test_advisory_locks_are_taken_nowhere_else() -> None:
    calls = re.compile(r"pg_(try_)?advisory_\w+\(")
    files = [file for folder in ("dynamo_ops", "plugins", "dags") for file in (ROOT / folder).rglob("*.py")]
    assert [file.name for file in files if calls.search(file.read_text())] == ["locks.py"]


def test_who_waits_for_nobody_keeps_nothing_from_being_vacuumed(database: Database) -> None:
    """His transaction is open for as long as he works, for hours maybe."""
    with alone(database, "transfer batch 7") as lock:
        assert lock is not None
        pid = lock.execute(text("SELECT pg_backend_pid()")).scalar_one()
        shown = database.frame(
            "SELECT state, backend_xmin IS NULL AND backend_xid IS NULL FROM pg_stat_activity WHERE pid = $1::int",
            (pid,),
        )
    assert shown.row(0) == ("idle in transaction", True)


def test_nothing_is_left_in_a_session() -> None:
    """Behind a pooler the next transaction is in another, and somebody else's in this one."""
    of_a_session = re.compile(
        r"pg_(try_)?advisory_(un)?lock(_shared)?\(|\b(LISTEN|UNLISTEN|DISCARD|PREPARE|DEALLOCATE) [a-z\"]"
        r"|\bSET (SESSION|TIME ZONE|ROLE)\b|\bWITH HOLD\b|[\"']options[\"']: *f?[\"']-c |set_config\([^)]*false\)"
        r"|\bTEMP(ORARY)? TABLE (?!.{0,260}ON COMMIT DROP)",
        re.DOTALL,
    )
    files = [file for folder in ("dynamo_ops", "plugins", "dags") for file in (ROOT / folder).rglob("*.py")]
    found = {file.name: match[0] for file in files if (match := of_a_session.search(file.read_text()))}
    assert found == {}
