"""The pause after failures: the same in SQL, where queues ask, and in Python, where people do."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.subscription.backoff import Backoff, is_over

BACKOFF = Backoff(timedelta(minutes=5), timedelta(hours=12))


@pytest.mark.parametrize(
    ("num_attempts", "minutes"), [(0, 0), (1, 5), (2, 10), (3, 20), (8, 640), (9, 720), (40, 720), (5000, 720)]
)
def test_the_pause_doubles_up_to_the_longest(num_attempts: int, minutes: int) -> None:
    assert BACKOFF.pause(num_attempts) == timedelta(minutes=minutes)


@pytest.mark.parametrize(("num_excused", "minutes"), [(40, 5), (39, 5), (38, 10), (0, 720)])
def test_what_was_excused_makes_no_pause_longer(num_excused: int, minutes: int) -> None:
    assert BACKOFF.pause(40, num_excused) == timedelta(minutes=minutes)


def test_sql_and_python_say_the_same(database: Database) -> None:
    """A second before the pause is over, just then, and a second after."""
    sql = text(f"""
        SELECT {is_over("subscription")} FROM (
            SELECT CAST(:attempts AS integer) AS num_attempts, CAST(:excused AS integer) AS num_excused,
                   now() - make_interval(secs => :since) AS updated_at) AS subscription""")
    with database.begin() as connection:
        for attempts in (0, 1, 2, 5, 8, 9, 21, 22, 5000):
            for excused in {0, attempts // 2, attempts}:
                for seconds in (-1, 0, 1):
                    since = BACKOFF.pause(attempts, excused) + timedelta(seconds=seconds)
                    values = {"attempts": attempts, "excused": excused, "since": since.total_seconds()}
                    is_over_now = connection.execute(sql, values | BACKOFF.params).scalar_one()
                    assert is_over_now is (seconds >= 0 or attempts == 0), values


def test_nothing_is_waited_for_before_the_first_failure(database: Database) -> None:
    with database.begin() as connection:
        now = connection.execute(text("SELECT now()")).scalar_one()
    assert BACKOFF.until(0, now) is None
    assert BACKOFF.until(1, now) == now + timedelta(minutes=5)
