"""Which datasets of a pull are set aside, since a record of theirs is bad, so that the others can be merged.

Checks of single rows say of which datasets their wrong rows are (``SqlCheck.datasets``). Those, and what could not be
read, are set aside: as long as they are few, and each wrong row is of a dataset that was asked for. Then the checks of
the pull as a whole look at what is left, which is what would be merged. Else all is as wrong as it is.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

import polars as pl
from sqlalchemy import Connection

from dynamo_ops.inventory.kinds import FaultStage
from dynamo_ops.inventory.staging.faults import stage_faults
from dynamo_ops.quality.checks import SqlCheck, example_text, literal
from dynamo_ops.quality.suites.rows import of_run
from dynamo_ops.quality.thresholds import MetadataThresholds

KEY = "datasets_set_aside"
OF_RECORD = "dataset_"
"""So the checks begin that look at the datasets' own records: the source has to list it anew. They come first."""
NARROWED = ("known_datasets", "listed_blocks", "lost_files")
"""Prepared tables that the checks of the whole read: without what is set aside."""
IS_LEFT = "NOT EXISTS (SELECT FROM set_aside AS aside WHERE aside.dataset = {table}.dataset)"
"""SQL: a row is of no dataset that is set aside."""


def set_aside_check(thresholds: MetadataThresholds) -> SqlCheck:
    """How many there are, and why; it refuses where they are too many."""
    return SqlCheck(
        KEY,
        f"a record is bad (set aside are {thresholds.max_set_aside:,} at most, of new ones"
        f" {thresholds.set_aside_tolerated:,} or {thresholds.max_set_aside_fraction:.2%} of the run),",
        "dataset",
        "SELECT dataset, fault FROM set_aside",
        "dataset IS NOT NULL",
        "dataset, fault",
    )


class Aside:
    """What is set aside of one pull. Its methods are called in this order, by ``quality.gate`` and ``.validation``."""

    def __init__(self, run_key: str, source: str, thresholds: MetadataThresholds) -> None:
        self._run_key, self._source = run_key, source
        self._run = of_run(run_key, source)
        self._limits = thresholds
        self._by_gate = pl.DataFrame()

    def prepare(self, connection: Connection) -> None:
        """Make ``wrong_datasets``, which the checks of rows fill: by check the datasets of its wrong rows (null: a row
        names none that could be set aside), how many rows, and one of them. And ``unreadable``."""
        connection.exec_driver_sql(
            "CREATE TEMPORARY TABLE wrong_datasets (key text, dataset text, num_wrong bigint, example json)"
            " ON COMMIT DROP"
        )
        connection.exec_driver_sql(f"""
            CREATE TEMPORARY TABLE unreadable ON COMMIT DROP AS
            SELECT dataset, min(fault) AS fault FROM staged_faults WHERE {self._run} AND stage <> '{FaultStage.GATE}'
            GROUP BY dataset""")

    def sift(self, connection: Connection, checks: Sequence[SqlCheck], warn_only: Collection[str]) -> frozenset[str]:
        """Make ``set_aside`` (dataset, fault) of what the ``checks`` of rows have seen, and narrow the prepared tables;
        returns the keys of the checks that need not refuse for that."""
        blocking = {check.key: check for check in checks if check.key not in warn_only}
        keys = ", ".join(literal(key) for key in blocking) or "NULL"
        connection.exec_driver_sql(f"""
            CREATE TEMPORARY TABLE set_aside ON COMMIT DROP AS
            SELECT dataset, fault, NULL::text AS key, NULL::json AS example FROM unreadable
            UNION ALL
            (SELECT DISTINCT ON (w.dataset) w.dataset, NULL, w.key, w.example
             FROM wrong_datasets AS w
             WHERE w.key IN ({keys}) AND w.dataset <> ''
               AND w.dataset IN (SELECT dataset FROM staged_datasets WHERE {self._run})
               AND w.dataset NOT IN (SELECT dataset FROM unreadable)
             ORDER BY w.dataset, starts_with(w.key, '{OF_RECORD}') DESC, array_position(ARRAY[{keys}], w.key))""")
        connection.exec_driver_sql("ANALYZE set_aside")
        self._word(connection, blocking)
        for table in NARROWED:
            _narrow(connection, table)
        if not self._are_few(connection):
            return frozenset()
        spared = connection.exec_driver_sql(f"""
            SELECT w.key FROM wrong_datasets AS w LEFT JOIN set_aside AS s ON s.dataset = w.dataset
            WHERE w.key IN ({keys}) GROUP BY w.key HAVING bool_and(s.dataset IS NOT NULL)
            UNION SELECT '{KEY}' FROM set_aside""")
        return frozenset(spared.scalars())

    def keep(self, connection: Connection) -> None:
        """Stage what only the gate has seen, beside what the pull has: in the transaction of the judgement."""
        stage_faults(connection, self._run_key, self._source, FaultStage.GATE, self._by_gate)

    def _word(self, connection: Connection, checks: dict[str, SqlCheck]) -> None:
        """The fault of each dataset in words, as the message of its check would have it."""
        seen = connection.exec_driver_sql(
            f"SELECT dataset, key, example::text FROM set_aside WHERE key IS NOT NULL ORDER BY dataset"
            f" LIMIT {self._limits.max_set_aside + 1}"
        ).all()
        worded = [
            (
                dataset,
                f"{checks[key].wrong.rstrip(',')}: {example_text(json.loads(example))}",
                key.startswith(OF_RECORD),
            )
            for dataset, key, example in seen
        ]
        schema = {"dataset": pl.String, "fault": pl.String, "is_of_record": pl.Boolean}
        self._by_gate = pl.DataFrame(worded, schema=schema, orient="row")
        if worded:
            _tell(connection, ", ".join(f"({literal(dataset)}, {literal(fault)})" for dataset, fault, _ in worded))

    def _are_few(self, connection: Connection) -> bool:
        """Few by number; of new ones few against the run, and not all that the source told of."""
        num_all, num_new, num_asked, num_good = connection.exec_driver_sql(f"""
            SELECT (SELECT count(*) FROM set_aside),
                   (SELECT count(*) FROM set_aside AS s WHERE NOT EXISTS (
                        SELECT FROM set_aside_datasets AS a
                        WHERE a.source = {literal(self._source)} AND a.dataset = s.dataset)),
                   count(DISTINCT dataset),
                   count(DISTINCT dataset) FILTER (WHERE NOT is_again AND {IS_LEFT.format(table="t")})
            FROM staged_datasets AS t WHERE {self._run}""").one()
        limits = self._limits
        most_new = max(limits.set_aside_tolerated, limits.max_set_aside_fraction * num_asked)
        return bool(num_all <= limits.max_set_aside and num_new <= most_new and (num_new < 2 or num_good > 0))


def _narrow(connection: Connection, table: str) -> None:
    """Take what is set aside out of a prepared table."""
    connection.exec_driver_sql(f"DELETE FROM {table} WHERE dataset IN (SELECT dataset FROM set_aside)")


def _tell(connection: Connection, faults: str) -> None:
    """``faults``: pairs of a dataset and what is wrong with it, as SQL."""
    connection.exec_driver_sql(f"""
        UPDATE set_aside AS s SET fault = w.fault FROM (VALUES {faults}) AS w (dataset, fault)
        WHERE w.dataset = s.dataset""")
