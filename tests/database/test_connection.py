"""The way to PostgreSQL, on a real one."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import polars as pl
import psycopg2
import pytest
from adbc_driver_manager import ProgrammingError
from sqlalchemy import text

from dynamo_ops.base.errors import RetryableRemoteError
from dynamo_ops.database import migrate
from dynamo_ops.database.connection import Database, insert_frame, select_frame, stream_texts
from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.database.locks import alone
from dynamo_ops.database.schema import Base


def test_the_migrated_schema_is_the_one_of_the_models(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    assert migrate.revision(database) == migrate.head() == ScriptDirectory(str(migrate.FOLDER)).get_current_head()


def test_rows_of_the_first_schema_are_kept_by_the_upgrade(postgres: EmbeddedPostgres) -> None:
    from alembic import command

    postgres.create_database("upgraded")
    database = Database(postgres.url("upgraded"))
    with database.engine.connect() as connection:
        command.upgrade(migrate._config(database, connection), "0001")
    with database.begin() as connection:
        for statement in (
            "INSERT INTO locks (item, reason, created_by) VALUES ('/A/B/C', 'in use', 'ada')",
            "INSERT INTO policy_versions (kind, partition, sha256, text) VALUES ('detox', 'p', 'x', 'Dismiss')",
            """INSERT INTO plans (kind, partition, run_key, policy_version_id, location, summary, planned_for_at,
                                  state, refused_because)
               SELECT 'detox', 'p', 'run', id, '', '{}', now(), 'refused', 'too much' FROM policy_versions""",
        ):
            connection.execute(text(statement))
    assert migrate.revision(database) == "0001"
    assert migrate.upgrade(database) == migrate.head()
    assert database.frame("SELECT item, removed_at IS NULL AS stands FROM locks").rows() == [("/A/B/C", True)]
    assert database.frame("SELECT refused_because, refused_by FROM plans").rows() == [("too much", None)]
    with database.engine.connect() as connection:
        command.downgrade(migrate._config(database, connection), "0001")
    assert database.frame("SELECT * FROM locks").columns[-1] == "expires_at"
    database.dispose()
    postgres.drop_database("upgraded")


def test_upgrading_twice_changes_nothing(database: Database) -> None:
    assert migrate.upgrade(database) == migrate.upgrade(database)


def test_sizes_are_bigint_and_times_have_a_zone(database: Database) -> None:
    columns = database.frame(
        "SELECT column_name::text AS name, data_type::text AS type FROM information_schema.columns"
        " WHERE table_schema = 'public' AND (column_name LIKE '%\\_bytes' OR column_name LIKE '%\\_at')"
    )
    kinds = {"_bytes": "bigint", "_at": "timestamp with time zone"}
    wrong = [row for row in columns.iter_rows() if kinds["_bytes" if row[0].endswith("_bytes") else "_at"] != row[1]]
    assert not wrong


@pytest.mark.parametrize("name", ["plain", 'comma, "quote"', "ünïcode", "line\nbreak", "back\\slash", ""])
def test_a_frame_comes_back_as_it_went(database: Database, name: str) -> None:
    frame = pl.DataFrame({"name": [name], "ownership_level": ["block"]})
    with database.begin() as connection:
        assert insert_frame(connection, "groups", frame) == 1
    assert database.frame("SELECT name, ownership_level FROM groups").equals(frame)


def test_nulls_and_times_come_back(database: Database) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    frame = pl.DataFrame(
        {
            "name": ["/A/B/C"],
            "status": ["valid"],
            "is_open": [True],
            "software_release": [None],
            "last_update_at": [at],
        },
        schema_overrides={"software_release": pl.String},
    )
    with database.begin() as connection:
        insert_frame(connection, "datasets", frame)
    row = database.frame("SELECT software_release, last_update_at, size_bytes FROM datasets").row(0)
    assert row == (None, at, 0)


@pytest.mark.parametrize("name", ["plain", 'comma, "quote"', "ünïcode", "line\nbreak", "back\\slash", "", None])
def test_rows_of_a_transaction_come_as_a_frame(database: Database, name: str | None) -> None:
    schema = {"n": pl.Int64, "name": pl.String, "other": pl.Int64}
    frame = pl.DataFrame({"n": [1, 2], "name": [name, "x"], "other": [None, 3]}, schema=schema)
    with database.begin() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE t (n bigint, name text, other int) ON COMMIT DROP"))
        insert_frame(connection, "t", frame)
        assert select_frame(connection, "SELECT n, name, other FROM t ORDER BY n", schema).equals(frame)
        assert select_frame(connection, "SELECT n, name, other FROM t WHERE n > 2", schema).equals(frame.clear())


def test_an_error_undoes_the_whole_block(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.begin() as connection:  # noqa: PT012
        connection.execute(text("INSERT INTO groups (name, ownership_level) VALUES ('g', 'block')"))
        raise ZeroDivisionError
    assert database.frame("SELECT * FROM groups").is_empty()


def test_a_snapshot_sees_one_moment(database: Database) -> None:
    with database.snapshot() as snapshot:
        before = snapshot.frame("SELECT count(*) AS n FROM groups").item()
        with database.begin() as connection:
            connection.execute(text("INSERT INTO groups (name, ownership_level) VALUES ('g', 'block')"))
        assert snapshot.frame("SELECT count(*) AS n FROM groups").item() == before == 0
    assert database.frame("SELECT count(*) AS n FROM groups").item() == 1


def test_parameters_are_bound_not_pasted(database: Database) -> None:
    assert database.frame("SELECT $1::text AS t, $2::bigint AS n", ("'; DROP TABLE files", 7)).row(0) == (
        "'; DROP TABLE files",
        7,
    )


def test_an_unreachable_database_is_retryable_and_hides_the_password() -> None:
    database = Database("postgresql://user:secret@127.0.0.1:1/none")
    with pytest.raises(RetryableRemoteError) as caught, database.begin():
        pass
    assert "secret" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)


def end_connections(database: Database) -> None:
    """As a restart of the server does."""
    with psycopg2.connect(database.url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    connection.close()


def read_on(database: Database) -> None:
    with database.snapshot() as snapshot:
        end_connections(database)
        snapshot.frame("SELECT 1")


def stream_on(database: Database) -> None:
    numbers = "SELECT n, repeat('x', 1000) FROM generate_series(1, 100000) AS n"
    with database.snapshot() as snapshot, snapshot.stream(numbers) as rows:
        end_connections(database)
        pl.DataFrame(rows)


def write_on(database: Database) -> None:
    with database.begin() as connection:
        end_connections(database)
        connection.execute(text("SELECT 1"))


def copy_in(database: Database) -> None:
    with database.begin() as connection:
        end_connections(database)
        insert_frame(connection, "groups", pl.DataFrame({"name": ["g"], "ownership_level": ["block"]}))


def copy_out(database: Database) -> None:
    with database.begin() as connection:
        end_connections(database)
        select_frame(connection, "SELECT 1", {"n": pl.Int64})


def hold_on(database: Database) -> None:
    with alone(database, "batch 7") as connection:
        assert connection is not None
        end_connections(database)
        connection.execute(text("SELECT 1"))


def text_on(database: Database) -> None:
    with database.begin() as connection:
        texts = stream_texts(connection, "SELECT repeat('x', 1000) FROM generate_series(1, 100000)", {}, 10)
        next(texts)
        end_connections(database)
        list(texts)


@pytest.mark.parametrize("broken", [read_on, stream_on, write_on, copy_in, copy_out, hold_on, text_on])
def test_a_connection_that_breaks_is_tried_again_wherever_it_breaks(
    database: Database, broken: Callable[[Database], None]
) -> None:
    with pytest.raises(RetryableRemoteError, match="database postgresql"):
        broken(database)
    assert database.frame("SELECT 1 AS n").item() == 1


def test_what_is_wrong_with_sql_is_no_broken_connection(database: Database) -> None:
    with pytest.raises(ProgrammingError, match="nothing"):
        database.frame("SELECT nothing")
    assert database.frame("SELECT 1 AS n").item() == 1


def test_connections_are_kept_and_one_that_the_server_left_is_not_used(database: Database) -> None:
    def process() -> int:
        return int(database.frame("SELECT pg_backend_pid() AS pid").item())

    first = process()
    assert process() == first
    end_connections(database)
    assert process() != first


def test_who_goes_leaves_no_connection_behind(database: Database) -> None:
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    before = database.frame(count).item()
    for sql in ("SELECT 1", "SELECT nothing"):
        with suppress(Exception):
            Database(database.url).frame(sql)
    gc.collect()  # a failure's traceback may hold the second
    assert database.frame(count).item() == before


def test_now_is_the_moment_of_each_read(database: Database) -> None:
    first, second = (database.frame("SELECT now() AS at").item() for _ in range(2))
    assert first < second
    idle = database.frame("SELECT count(*) AS n FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'")
    assert idle.item() == 0


def test_a_child_does_not_use_the_connections_of_its_parent(database: Database) -> None:
    here = database.frame("SELECT pg_backend_pid() AS pid").item()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, str(database.frame("SELECT pg_backend_pid() AS pid").item()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(reading, 100)) != here
    assert database.frame("SELECT pg_backend_pid() AS pid").item() == here


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("SELECT $1::bigint AS x", 5),
        ("SELECT $1::text AS x", None),
        ("SELECT $1::bigint AS x", None),
        ("SELECT array_length($1::bigint[], 1) AS x", [4, 5]),
        ("SELECT array_length($1::text[], 1) AS x", ["a"]),
        ("SELECT $1::timestamptz AS x", datetime(2026, 1, 2, tzinfo=UTC)),
        ("SELECT $1::boolean AS x", True),
        ("SELECT $1::double precision AS x", 1.5),
    ],
)
def test_parameters(database: Database, sql: str, value: Any) -> None:
    expected = len(value) if isinstance(value, list) else value
    assert database.frame(sql, [value]).item() == expected


def test_documents_and_decimals_come_as_text(database: Database) -> None:
    frame = database.frame("""SELECT CAST('{"a": 1}' AS jsonb) AS j, CAST(1.5 AS numeric) AS n""")
    assert frame.rows() == [('{"a": 1}', "1.5")]
    assert frame.schema == {"j": pl.String, "n": pl.String}


def test_texts_are_streamed_piece_by_piece_with_their_parameters(database: Database) -> None:
    numbers = "generate_series(1, :most) AS n WHERE n <> ALL(:without) ORDER BY n"
    sql = f"SELECT CAST(n AS text) || :mark || '%' FROM {numbers}"
    with database.begin() as connection:
        pieces = stream_texts(connection, sql, {"mark": ":'", "most": 5, "without": [2]}, 3)
        assert [[row[0] for row in piece] for piece in pieces] == [["1:'%", "3:'%", "4:'%"], ["5:'%"]]
        assert list(stream_texts(connection, "SELECT 'again'", {}, 3)) == [[("again",)]]
        given_up = stream_texts(connection, sql, {"mark": "", "most": 9, "without": [0]}, 3)
        next(given_up)
        given_up.close()
        assert connection.execute(text("SELECT count(*) FROM pg_cursors")).scalar() == 0


def test_a_stream_that_takes_too_long_may_be_asked_for_again(database: Database) -> None:
    def slow() -> None:
        with database.begin() as connection:
            connection.execute(text("SET LOCAL statement_timeout = 50"))
            list(stream_texts(connection, "SELECT CAST(pg_sleep(60) AS text)", {}, 3))

    with pytest.raises(RetryableRemoteError, match="statement timeout"):
        slow()
    with database.begin() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
