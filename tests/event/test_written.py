"""Events are there with what they tell of, once, and not without it."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import event

from dynamo_ops.access import tokens
from dynamo_ops.base.errors import RetryableRemoteError, UnknownNameError
from dynamo_ops.database.connection import Database
from dynamo_ops.database.within import together
from dynamo_ops.detox import tasks as detox
from dynamo_ops.event import tokens as ending_tokens
from dynamo_ops.event.kinds import EventKind, kinds_meant
from dynamo_ops.inventory.catalogue.invalidation import invalidate
from dynamo_ops.lock import ending as ending_locks
from dynamo_ops.lock.store import add_lock
from dynamo_ops.plan.verdict import refuse
from dynamo_ops.request.advance import advance
from dynamo_ops.request.cancel import cancel
from dynamo_ops.request.copy_request import record_plan
from dynamo_ops.request.stuck import tell_stuck
from tests.detox.test_tasks import NOW, House
from tests.people import ADA, BOB
from tests.request.stock import DATASET, Stock

COPIES = dict.fromkeys(("request_id", "dataset_id", "block_id", "site_id"), pl.Int64)


@pytest.fixture
def asked(database: Database) -> Stock:
    return Stock(database)


def events(db: Database) -> list[dict[str, Any]]:
    """All of them, in their order."""
    sql = """SELECT kind, object_kind || ' ' || object_name AS object, person, groups, sites, datasets, is_private,
                    facts::text AS facts FROM events ORDER BY id"""
    return [{**row, "facts": json.loads(row["facts"])} for row in db.frame(sql).to_dicts()]


def kinds(db: Database) -> list[tuple[str, str]]:
    return [(row["kind"], row["object"]) for row in events(db)]


def test_of_a_copy_that_is_there(asked: Stock) -> None:
    request = asked.ask()
    asked.dealt(request, (None, "T2_C"))
    advance(asked.db)
    assert events(asked.db) == []
    asked.arrive("T2_C", *asked.files)
    assert advance(asked.db).num_completed == 1
    assert advance(asked.db).num_completed == 0
    (told,) = events(asked.db)
    facts = told.pop("facts")
    assert told == {
        "kind": "request.completed",
        "object": f"request {request}",
        "person": "ada",
        "groups": ["ops"],
        "sites": ["T2_C"],
        "datasets": [DATASET],
        "is_private": False,
    }
    assert (facts["request"], facts["request_kind"], facts["size_bytes"]) == (request, "copy", 6_000)


def test_of_what_is_taken_back_and_of_nothing_where_it_is_not(asked: Stock) -> None:
    request = asked.ask()

    def cancelled_and_broken() -> None:
        with together(asked.db) as within:
            cancel(within, request, by=ADA, reason="a slip")
            raise KeyError("broken off")

    with pytest.raises(KeyError):
        cancelled_and_broken()
    assert events(asked.db) == []
    cancel(asked.db, request, by=BOB, reason="not needed")
    (told,) = events(asked.db)
    assert (told["kind"], told["facts"]["closed_by"], told["facts"]["reason"]) == (
        "request.cancelled",
        "bob",
        "not needed",
    )


def test_whatever_statement_the_connection_dies_at_there_are_both_or_neither(asked: Stock) -> None:
    request = asked.ask()
    asked.dealt(request, (None, "T2_C"))
    asked.arrive("T2_C", *asked.files)
    for number in range(100):
        victim, count = Database(asked.db.url), itertools.count()

        def end(connection: Any, *_: Any, at: int = number, count: Any = count) -> None:
            if next(count) == at:
                pid = connection.connection.dbapi_connection.get_backend_pid()
                asked.rows("SELECT pg_terminate_backend(:pid, 5000)", pid=pid)

        event.listen(victim.engine, "before_cursor_execute", end)
        event.listen(victim.engine, "commit", end)
        try:
            advance(victim)
        except RetryableRemoteError:
            assert (asked.state(request), events(asked.db)) == ("activated", [])
        else:
            break
        finally:
            victim.dispose()
    assert number > 20
    assert (asked.state(request), len(events(asked.db))) == ("completed", 1)


def test_ten_thousand_that_are_done_at_once(asked: Stock) -> None:
    asked.rows(
        """WITH made AS (
               INSERT INTO requests (kind, digest, sites, state, requested_by, last_asked_by)
               SELECT 'deletion', number::text, ARRAY['T2_C'], 'activated', 'ada', 'ada'
               FROM generate_series(1, 10000) AS number RETURNING id),
           items AS (INSERT INTO request_items (request_id, number, dataset_id) SELECT id, 1, :dataset FROM made)
           INSERT INTO request_actions (request_id, dataset_id, block_id, site_id, size_bytes)
           SELECT id, :dataset, :block, :site, 1000 FROM made""",
        dataset=asked.dataset_id,
        block=asked.block_ids["b1"],
        site=asked.site_ids["T2_C"],
    )
    asked.rows("ANALYZE")  # as autovacuum does
    assert advance(asked.db).num_completed == 10_000
    written = events(asked.db)
    assert len(written) == 10_000
    assert {(row["datasets"][0], row["sites"][0], row["facts"]["size_bytes"]) for row in written} == {
        (DATASET, "T2_C", 1000)
    }


def test_of_what_a_dealer_refuses(asked: Stock) -> None:
    request, other = asked.ask(), asked.ask(f"{DATASET}#b1")
    refused = pl.DataFrame({"request_id": [request], "reason": ["never"]})
    with asked.db.begin() as connection:
        record_plan(connection, asked.plan_row(), pl.DataFrame(schema=COPIES), refused)
    assert kinds(asked.db) == [("request.rejected", f"request {request}")]
    assert asked.state(other) == "new"


def test_of_a_deletion_of_which_nothing_may_go(asked: Stock) -> None:
    answer = asked.delete(sites=("T2_C",))
    assert (answer.state, kinds(asked.db)) == ("rejected", [("request.rejected", f"request {answer.request_id}")])
    asked.delete(sites=("T2_A",), dry_run=True)
    assert len(events(asked.db)) == 1


def test_of_a_request_whose_data_are_declared_invalid(asked: Stock) -> None:
    request = asked.ask()
    invalidate(asked.db, {"datasets": [DATASET]}, reason="wrong", by=ADA)
    (told,) = events(asked.db)
    assert (told["kind"], told["object"], told["datasets"]) == (
        "request.cancelled",
        f"request {request}",
        [DATASET],
    )


def test_what_does_not_move_is_told_once_until_it_moves(asked: Stock) -> None:
    request = asked.ask()
    asked.dealt(request, (None, "T2_C"))
    assert tell_stuck(asked.db, 7) == 0
    asked.rows("UPDATE requests SET created_at = now() - interval '9 days'")
    assert tell_stuck(asked.db, 7) == 0, "its action is young"
    asked.rows("UPDATE request_actions SET updated_at = now() - interval '8 days'")
    assert [tell_stuck(asked.db, 7), tell_stuck(asked.db, 7)] == [1, 0]
    asked.rows("UPDATE events SET at = now() - interval '20 days'")
    asked.rows("UPDATE request_actions SET updated_at = now() - interval '8 days'")
    assert tell_stuck(asked.db, 7) == 1
    assert kinds(asked.db) == [("request.stuck", f"request {request}")] * 2


def test_of_plans_and_of_a_site_that_becomes_full(database: Database, tmp_path: Path) -> None:
    house = House(database, tmp_path)
    house.gates(approval_above_bytes=0)
    plan = house.plan()
    house.gate(plan)
    house.gate(plan)
    assert kinds(house.db) == [("plan.waits", f"plan {plan}")]
    detox.accept_yes(house.db, plan, name="ada")
    house.commit(plan)
    full, committed = events(house.db)[1:]
    assert (full["kind"], full["object"], full["sites"]) == ("site.full", "site T2_A", ["T2_A"])
    assert (full["facts"]["partition"], full["facts"]["plan"]) == ("all", plan)
    assert (committed["kind"], committed["sites"], committed["facts"]["num_files"]) == ("plan.committed", ["T2_A"], 4)
    house.commit(plan)
    assert len(events(house.db)) == 3
    again = house.plan("second")
    house.rows("UPDATE plans SET state = 'approved' WHERE id = :p", p=again)
    house.rows("UPDATE block_replicas SET group_id = :g", g=house.group_id)
    frame = detox.plan_store.load(house.db, again).frame("site_states").with_columns(is_triggered=pl.lit(True))
    frame.write_parquet(Path(detox.plan_store.load(house.db, again).location) / "site_states.parquet")
    house.commit(again)
    assert kinds(house.db)[3:] == [("site.full", "site T2_B"), ("plan.committed", f"plan {again}")], (
        "T2_A was full before"
    )


def test_of_a_plan_that_is_stored_by_hand_and_refused(database: Database, tmp_path: Path) -> None:
    house = House(database, tmp_path)
    plan = detox.plan_cycle(house.db, house.settings, "all", run_key="hand", now=NOW, by=ADA)
    refuse(house.db, plan, "no", by=BOB)
    waits, refused = events(house.db)
    assert (waits["kind"], waits["person"]) == ("plan.waits", "ada")
    assert (refused["kind"], refused["person"], refused["facts"]["refused_by"]) == ("plan.refused", "ada", "bob")


def test_of_locks_and_tokens_that_end(asked: Stock) -> None:
    now = datetime.now(UTC)
    for until in ("3 days", "30 days", "9 days"):
        add_lock(asked.db, DATASET, sites="T2_A", groups="ops", until=until, reason="why", by=ADA, now=now)
    add_lock(asked.db, DATASET, reason="why", by=ADA, now=now)
    asked.rows("UPDATE locks SET created_at = now() - interval '30 days' WHERE id = 3")
    assert [ending_locks.tell_ending(asked.db, days) for days in (7, 10, 10)] == [0, 1, 0]
    made = [tokens.make(asked.db, name, days=days, by=ADA) for name, days in (("short", 3), ("long", 9))]
    assert [ending_tokens.tell_ending(asked.db, days) for days in (4, 4, 8.9, 9.1)] == [0, 0, 0, 0]
    asked.rows("UPDATE tokens SET created_at = now() - interval '30 days'")
    assert [ending_tokens.tell_ending(asked.db, 7), ending_tokens.tell_ending(asked.db, 7)] == [1, 0]
    lock, token = events(asked.db)
    assert (lock["kind"], lock["object"], lock["groups"], lock["sites"]) == ("lock.ending", "lock 3", ["ops"], ["T2_A"])
    assert (token["object"], token["person"], token["is_private"]) == (f"token {made[0].id}", "ada", True)
    assert set(token["facts"]) == {"token", "name", "until"}


def test_an_unknown_kind_has_near_ones() -> None:
    assert kinds_meant(["request.c*"]) == [EventKind.REQUEST_COMPLETED, EventKind.REQUEST_CANCELLED]
    with pytest.raises(UnknownNameError, match=r"'request.complete': these are .*Did you mean request\.completed"):
        kinds_meant(["request.*", "request.complete"])
