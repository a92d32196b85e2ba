"""What was asked under the earlier schema is still asked under this one."""

from __future__ import annotations

from alembic import command
from sqlalchemy import text

from dynamo_ops.database import migrate
from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.request.copy_request import open_requests, request_copy
from tests.people import ADA, BOB, EVE
from tests.request.stock import list_requests

COLUMNS = ["id", "items", "sites", "num_copies", "group", "state", "requested_by", "num_asked", "closed_because"]


def test_copy_requests_survive_both_ways(postgres: EmbeddedPostgres) -> None:
    postgres.create_database("requests_upgraded")
    database = Database(postgres.url("requests_upgraded"))
    with database.engine.connect() as connection:
        command.upgrade(migrate._config(database, connection), "0002")
    with database.begin() as connection:
        for statement in (
            "INSERT INTO groups (name, ownership_level) VALUES ('ops', 'dataset')",
            "INSERT INTO sites (name, storage_type, status) VALUES ('T2_A', 'disk', 'ready')",
            "INSERT INTO datasets (name, status, is_open, last_update_at) VALUES ('/A/B/C', 'valid', false, now())",
            """INSERT INTO copy_requests (id, dataset_id, sites, num_copies, group_id, state, reason, requested_by)
               VALUES (3, 1, '{T2_A}', 1, 1, 'completed', NULL, 'ada'), (5, 1, '{T2_A,T2_*}', 0, 1, 'new', NULL, 'ada'),
                      (6, 1, '{T2_A}', 1, 1, 'rejected', 'too large', 'eve'),
                      (8, 1, '{T2_A,T2_*}', 0, 1, 'activated', NULL, 'bob')""",
        ):
            connection.execute(text(statement))
    migrate.upgrade(database)
    assert list_requests(database).select(COLUMNS).sort("id").rows() == [
        (3, "/A/B/C", "T2_A", 1, "ops", "completed", "ada", 1, None),
        (5, "/A/B/C", "T2_A T2_*", 0, "ops", "new", "ada", 2, None),
        (6, "/A/B/C", "T2_A", 1, "ops", "rejected", "eve", 1, "too large"),
        (8, "/A/B/C", "T2_A T2_*", 0, "ops", "cancelled", "bob", 1, "the same as request 5"),
    ]
    assert open_requests(database, "ops")["request_id"].to_list() == [5]
    again = request_copy(database, "/A/B/C", ["T2_A"], num_copies=1, group="ops", by=ADA)
    assert again == 9
    assert request_copy(database, "/A/B/C", ["T2_A"], num_copies=1, group="ops", by=EVE) == again
    with database.engine.connect() as connection:
        command.downgrade(migrate._config(database, connection), "0002")
    assert database.frame("SELECT id, state FROM copy_requests ORDER BY id").rows() == [
        (3, "completed"),
        (5, "new"),
        (6, "rejected"),
        (8, "cancelled"),
        (9, "new"),
    ]
    database.dispose()
    postgres.drop_database("requests_upgraded")


def test_what_is_asked_again_after_the_upgrade_is_the_same_request(postgres: EmbeddedPostgres) -> None:
    postgres.create_database("requests_same")
    database = Database(postgres.url("requests_same"))
    with database.engine.connect() as connection:
        command.upgrade(migrate._config(database, connection), "0002")
    with database.begin() as connection:
        for statement in (
            "INSERT INTO groups (name, ownership_level) VALUES ('ops', 'dataset')",
            "INSERT INTO sites (name, storage_type, status) VALUES ('T2_A', 'disk', 'ready')",
            "INSERT INTO datasets (name, status, is_open, last_update_at) VALUES ('/A/B/C', 'valid', false, now())",
            """INSERT INTO copy_requests (id, dataset_id, sites, num_copies, group_id, requested_by)
               VALUES (4, 1, '{T2_*,T2_A}', 1, 1, 'ada')""",
        ):
            connection.execute(text(statement))
    migrate.upgrade(database)
    assert request_copy(database, "/A/B/C", ["T2_A", "T2_*"], num_copies=1, group="ops", by=BOB) == 4
    database.dispose()
    postgres.drop_database("requests_same")
