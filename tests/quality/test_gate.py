"""Running checks: what a check that cannot be evaluated comes to, and that rows in masses cost nothing."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from sqlalchemy import text

from dynamo_ops.base.errors import GateError, InventoryError, RetryableRemoteError
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.staging.pull import staged_now, staged_pull
from dynamo_ops.quality.checks import SqlCheck, example_text
from dynamo_ops.quality.gate import run_gate
from tests.inventory.told import RUN, accept, block, dataset, file, site, stage, stage_sites


def check(condition: str, rows: str = "SELECT n FROM generate_series(1, 5) AS n", key: str = "odd") -> SqlCheck:
    return SqlCheck(key, "odd", "number", rows, condition, "n")


def test_examples_are_the_first_in_their_own_order_and_all_are_counted(database: Database) -> None:
    rows = "SELECT n, n::text AS name FROM generate_series(200000, 1, -1) AS n"
    with pytest.raises(
        GateError, match=r"refused it: odd in 200,000 numbers: n=1; n=2; n=3; …\nand odd in 1 number: n=7"
    ):
        run_gate(database, "test", "it", "run", [check("n > 0", rows), check("n = 7", rows, "seven")], ())


def test_rows_are_read_once_whatever_the_number_of_checks(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("CREATE SEQUENCE readings"))
    rows = "SELECT nextval('readings') AS n"
    with pytest.raises(GateError, match=r"odd in 1 number: n=1\nand odd in 1 number: n=1"):
        run_gate(database, "test", "it", "run", [check("n > 0", rows), check("n = 1", rows, "one")], ())
    assert database.frame("SELECT last_value FROM readings")["last_value"].to_list() == [1]


def test_conditions_are_plain_sql(database: Database) -> None:
    rows = "SELECT '{a}:b'::text AS n"
    with pytest.raises(GateError, match=r"in 1 number: n=\{a\}:b"):
        run_gate(database, "test", "it", "run", [check("n ~ '^.a[}]{1}' AND n::varchar <> ':x'", rows)], ())


def test_rows_that_make_a_query_fail_are_refused_and_name_the_check(database: Database) -> None:
    with pytest.raises(GateError, match=r"test gate: odd could not be evaluated: division by zero") as caught:
        run_gate(database, "test", "it", "run", [check("1 / (n - 3) > 0")], ())
    assert caught.value.facts["failures"] == ["odd"]


def test_a_database_that_is_away_is_asked_again_later() -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(RetryableRemoteError, match=r"database postgresql://nobody@127\.0\.0\.1:1/none: "):
        run_gate(away, "test", "it", "run", [check("n > 0")], ())


@pytest.mark.parametrize(
    ("warn_only", "was_accepted"),
    [((), False), (("odd",), False), ((), True)],
    ids=["refused", "warned", "not any more"],
)
def test_what_may_be_merged_is_what_the_gate_accepted(
    database: Database, warn_only: tuple[str, ...], was_accepted: bool
) -> None:
    stage_sites(database, site("T2_A"))
    if was_accepted:
        accept(database, RUN, "cric", "sites")
    staged = staged_now(database, RUN, "cric", "sites")
    with nullcontext() if warn_only else pytest.raises(GateError):
        run_gate(database, "sites", "it", RUN, [check("n > 0")], warn_only, staged=staged)
    may_be_merged = nullcontext() if warn_only else pytest.raises(InventoryError, match="no gate let it in")
    with database.begin() as connection, may_be_merged:
        staged_pull(connection, RUN, "cric", "sites")


def test_only_tables_of_the_gates_kind_are_analyzed(database: Database) -> None:
    stage(database, [dataset()], [block()], [file("/a/1")])
    stage_sites(database, site("T2_A"))
    run_gate(database, "sites", "it", RUN, [check("n > 5")], (), staged=staged_now(database, RUN, "cric", "sites"))
    known = database.frame(
        "SELECT relname FROM pg_class WHERE relname LIKE 'staged\\_%' AND reltuples >= 0 AND relkind = 'r'"
    )
    assert known["relname"].to_list() == ["staged_sites"]


def test_what_is_shown_of_a_row_stays_in_one_line_and_short() -> None:
    row = {"dataset": "/A/B", "block": None, "lfn": "/a\nb", "size_bytes": None, "told": "", "text": "x" * 1000}
    assert example_text(row) == f"/A/B /a\\nb block=None size_bytes=None told='' text={'x' * 200}… (1,000 characters)"
