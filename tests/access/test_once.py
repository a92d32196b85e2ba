"""A call with a key is done once; one that came to nothing may be sent again. (Killed calls: ``tests/chaos``.)"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from dynamo_ops.access import audit
from dynamo_ops.access.actions import AccessError, Action, Target
from dynamo_ops.access.once import Answer, UnderWayError, UsedKeyError, forget, once
from dynamo_ops.access.person import ALL_RIGHTS, KnownBy, Person
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.lock.store import add_lock
from dynamo_ops.request.copy_request import request_copy
from tests.people import ADA

ANNA = Person("anna", KnownBy.TOKEN, ALL_RIGHTS, key="k1")
DIGEST, OTHER = b"1" * 32, b"2" * 32
NOW = datetime.now(UTC)


def lock(db: Database, by: Person = ANNA) -> Answer:
    made = add_lock(db, "/A/*", reason="why", by=by, now=NOW)
    return Answer(201, f'{{"id":{made.id}}}', f"/locks/{made.id}")


def number_of(db: Database, table: str) -> int:
    return int(db.frame(f"SELECT count(*) AS n FROM {table}").item())


def outcomes(db: Database) -> list[tuple[str, str | None]]:
    return [(row["outcome"], row["key"]) for row in audit.records(db).reverse().to_dicts()]


def test_the_same_call_is_answered_as_it_was(database: Database) -> None:
    first = once(database, ANNA, DIGEST, lock)
    assert first == Answer(201, '{"id":1}', "/locks/1")
    assert once(database, ANNA, DIGEST, lock) == replace(first, is_replay=True)
    assert (number_of(database, "locks"), outcomes(database)) == (1, [("done", "k1")])


def test_another_call_with_the_key_is_refused_and_another_person_has_keys_of_their_own(database: Database) -> None:
    once(database, ANNA, DIGEST, lock)
    with pytest.raises(UsedKeyError, match="that of another call"):
        once(database, ANNA, OTHER, lock)
    bob = replace(ANNA, name="bob")
    assert once(database, bob, OTHER, lambda db: lock(db, bob)).location == "/locks/2"


def test_without_a_key_each_call_is_done(database: Database) -> None:
    nobody = replace(ANNA, key=None)
    for number in (1, 2):
        assert once(database, nobody, DIGEST, lambda db: lock(db, nobody)).location == f"/locks/{number}"
    assert number_of(database, "idempotency") == 0


def test_a_call_that_is_under_way_is_not_begun_twice(database: Database) -> None:
    def act(db: Database) -> Answer:
        with pytest.raises(UnderWayError, match="under way"):
            once(database, ANNA, DIGEST, lock)
        with pytest.raises(UnderWayError):
            once(database, ANNA, OTHER, lock)
        return lock(db)

    assert once(database, ANNA, DIGEST, act).location == "/locks/1"
    assert number_of(database, "locks") == 1


def test_of_many_who_send_it_at_once_one_does_it(database: Database) -> None:
    callers = [Database(database.url) for _ in range(6)]

    def call(number: int) -> Answer | None:
        try:
            return once(callers[number % len(callers)], ANNA, DIGEST, lock)
        except UnderWayError:
            return None

    with ThreadPoolExecutor(len(callers)) as pool:
        answers = list(pool.map(call, range(30)))
    for caller in callers:
        caller.dispose()
    done = [answer for answer in answers if answer and not answer.is_replay]
    assert (len(done), number_of(database, "locks")) == (1, 1)
    assert {replace(answer, is_replay=True) for answer in answers if answer} == {replace(done[0], is_replay=True)}


@pytest.mark.parametrize("error", [InventoryError("no"), ZeroDivisionError(), KeyboardInterrupt()])
def test_a_call_that_failed_has_done_nothing_and_may_be_sent_again(database: Database, error: BaseException) -> None:
    def act(db: Database) -> Answer:
        lock(db)
        raise error

    with pytest.raises(type(error)):
        once(database, ANNA, DIGEST, act)
    assert (number_of(database, "locks"), outcomes(database)) == (0, [])
    with pytest.raises(UsedKeyError):
        once(database, ANNA, OTHER, lock)
    assert once(database, ANNA, DIGEST, lock) == Answer(201, '{"id":2}', "/locks/2")


def test_what_is_refused_is_in_the_audit_with_its_key(database: Database) -> None:
    eve = Person("eve", KnownBy.TOKEN, key="k2")
    for _ in range(2):
        with pytest.raises(AccessError):
            once(database, eve, DIGEST, lambda db: lock(db, eve))

    def lock_and_fail(db: Database) -> Answer:
        lock(db)
        request_copy(db, "/No/such-v1/AOD", ["*"], num_copies=1, group="ops", by=ANNA)
        raise AssertionError

    with pytest.raises(InventoryError, match="unknown dataset"):
        once(database, ANNA, OTHER, lock_and_fail)
    assert outcomes(database) == [("refused", "k2"), ("refused", "k2"), ("failed", "k1")]
    assert number_of(database, "locks") == 0


def test_a_trial_says_what_would_be_and_leaves_nothing(database: Database) -> None:
    def act(db: Database) -> Answer:
        answer = lock(db)
        with db.begin() as connection:
            assert connection.execute(text("SELECT count(*) FROM locks")).scalar_one() == 1
        return answer

    for _ in range(2):
        assert once(database, ANNA, DIGEST, act, is_trial=True).status == 201
    assert (number_of(database, "locks"), number_of(database, "idempotency")) == (0, 0)
    assert outcomes(database) == [("dry_run", "k1")] * 2
    assert audit.records(database)["ids"].to_list() == [[], []]


def test_a_dry_run_of_the_act_itself_is_a_part_that_is_taken_back(database: Database) -> None:
    def act(db: Database) -> Answer:
        with audit.acting(db, ANNA, Action.LOCK, "/b") as tried:
            tried.check(Target())
            tried.is_dry_run = True
            tried.connection.execute(text("INSERT INTO groups (name, ownership_level) VALUES ('g', 'block')"))
        return lock(db)

    once(database, ANNA, DIGEST, act)
    assert (number_of(database, "groups"), number_of(database, "locks")) == (0, 1)
    assert sorted(outcomes(database)) == [("done", "k1"), ("dry_run", "k1")]


def test_a_part_that_fails_is_undone_alone(database: Database) -> None:
    def act(db: Database) -> Answer:
        with suppress(InventoryError):
            add_lock(db, "/B/*", reason="", by=ANNA, now=NOW)
        with suppress(ZeroDivisionError), db.begin() as connection:
            connection.execute(text("INSERT INTO groups (name, ownership_level) VALUES ('g', 'block')"))
            raise ZeroDivisionError
        return lock(db)

    once(database, ANNA, DIGEST, act)
    assert (number_of(database, "groups"), number_of(database, "locks")) == (0, 1)


def test_a_secret_is_not_kept(database: Database) -> None:
    answer = Answer(201, '{"secret":"s"}', kept_body="{}")
    assert once(database, ANNA, DIGEST, lambda _: answer) == answer
    assert once(database, ANNA, DIGEST, lambda _: answer) == Answer(201, "{}", is_replay=True)


def test_keys_are_forgotten_after_a_week(database: Database) -> None:
    once(database, ANNA, DIGEST, lock)
    assert forget(database) == 0
    with database.begin() as connection:
        connection.execute(text("UPDATE idempotency SET at = :at"), {"at": NOW - timedelta(days=7, minutes=1)})
    assert forget(database) == 1
    assert once(database, ANNA, OTHER, lock).location == "/locks/2"


def test_who_acts_in_a_shell_has_no_key(database: Database) -> None:
    lock(database, ADA)
    assert outcomes(database) == [("done", None)]
