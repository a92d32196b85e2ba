"""Pieces of SQL that several suites use."""

from __future__ import annotations

from dynamo_ops.quality.checks import literal

UNUSABLE = r"[\x01-\x20\x7f#*?]"
"""No blank, no control character; ``#`` parts dataset and block, ``*`` and ``?`` make a glob of a name."""


ITS_DATASET = "ARRAY[dataset]"
"""``SqlCheck.datasets`` of a row with a column ``dataset``."""


def of_run(run_key: str, source: str) -> str:
    """The condition that picks what (run_key, source) staged."""
    return f"run_key = {literal(run_key)} AND source = {literal(source)}"


def empty(*columns: str) -> str:
    """True where a text is null or empty."""
    return " OR ".join(f"coalesce({column}, '') = ''" for column in columns)


def null(*columns: str) -> str:
    """True where a value is null."""
    return " OR ".join(f"{column} IS NULL" for column in columns)


def unusable(column: str, max_bytes: int) -> str:
    """True for a name that cannot be used in policies, locks and messages, or is too long."""
    return f"{column} ~ '{UNUSABLE}' OR octet_length({column}) > {max_bytes}"
