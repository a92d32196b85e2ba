"""Globs as conditions in SQL find what globs find in Python."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from dynamo_ops.base.glob import glob_like, is_glob
from dynamo_ops.database.connection import Database
from dynamo_ops.query.paging.condition import Conditions, name_condition

SIGNS = st.text(alphabet="aB/_%\\.*?[]!-é\n", max_size=8)
NAMES = ["", "a", "a_b", "axb", "a%b", "a\\b", "a/b", "[a]", "[a*", "aé", "B\nb", "a.b", "a-b", "ab!"]


def matching(db: Database, pattern: str) -> set[str]:
    condition, params = name_condition('listed.name COLLATE "C"', [pattern])
    with db.begin() as connection:
        return set(
            connection.execute(
                text(f"SELECT name FROM unnest(CAST(:names AS text[])) AS listed (name) WHERE {condition}"),
                {"names": NAMES, **params},
            ).scalars()
        )


@pytest.mark.parametrize(
    "pattern",
    [
        "a_b",
        "a_*",
        "a%*",
        "a\\*",
        "a?b",
        "*b",
        "**",
        "[a*",
        "[a]*",
        "a[!x]b*",
        "*[%_]b",
        "[a]",
        "a/*",
        "*\n*",
        "a[z-a]*",
    ],
)
def test_sql_finds_what_the_shell_would(database: Database, pattern: str) -> None:
    expected = {name for name in NAMES if (fnmatchcase(name, pattern) if is_glob(pattern) else name == pattern)}
    assert matching(database, pattern) == expected


@given(SIGNS)
def test_a_pattern_without_a_set_is_said_by_like(pattern: str) -> None:
    like = glob_like(pattern)
    assert (like is None) == ("]" in pattern and any(part.startswith("[") for part in _sets(pattern)))


def _sets(pattern: str) -> list[str]:
    from dynamo_ops.base.glob import OneOf, parts

    return ["[" if isinstance(part, OneOf) else "." for part in parts(pattern)]


def test_several_patterns_are_joined_by_or_and_conditions_by_and() -> None:
    condition, params = name_condition("x", ["a", "b", "c*", "d[ef]*"])
    assert condition == "(x = ANY(:name)) OR (x LIKE :name_0) OR (x LIKE :name_1 AND x ~ :name_1_regex)"
    assert params == {"name": ["a", "b"], "name_0": "c%", "name_1": "d%", "name_1_regex": "^(?:d[e-ef-f].*)$"}
    conditions = Conditions()
    assert conditions.sql == "true"
    conditions.add(condition, **params)
    conditions.add("y = :y", y=1)
    assert conditions.sql == f"({condition}) AND (y = :y)"


def test_the_index_serves_the_beginning_of_a_glob_and_the_order(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(
            text("""INSERT INTO datasets (name, status, is_open, last_update_at)
                    SELECT '/D' || n || '/Run-v1/AOD', 'valid', false, now() FROM generate_series(1, 20000) AS n""")
        )
        connection.execute(text("ANALYZE datasets"))
        condition, params = name_condition('dataset.name COLLATE "C"', ["/D12*"])
        plan = connection.execute(
            text(f"""EXPLAIN SELECT id FROM datasets AS dataset WHERE {condition}
                     ORDER BY dataset.name COLLATE "C" LIMIT 100"""),
            params,
        ).scalars()
        explained = "\n".join(plan)
    assert "ix_datasets_name_bytes" in explained
    assert "Sort" not in explained
    assert "Index Cond" in explained
