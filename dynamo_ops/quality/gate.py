"""Running a gate: all its checks by Great Expectations, the results kept in ``gate_results``, then pass or refuse."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import polars as pl
from sqlalchemy import text

from dynamo_ops.errors import GateError
from dynamo_ops.inventory.database import Database, insert_frame
from dynamo_ops.inventory.staging import STAGING_TABLES
from dynamo_ops.quality.checks import SHOWN, FrameCheck, Outcome, SqlCheck

log = logging.getLogger(__name__)

Check = SqlCheck | FrameCheck

INVENTORY = "inventory"
FRAMES = "frames"


@dataclass(frozen=True)
class GateReport:
    """A gate that let its subject pass. ``outcomes``: one a check, in the order of the suite."""

    gate: str
    subject: str
    outcomes: tuple[Outcome, ...]

    @property
    def warnings(self) -> list[str]:
        """What was found but only warned of, in plain words."""
        return [str(outcome) for outcome in self.outcomes if not outcome.is_success]


def run_gate(
    db: Database, gate: str, subject: str, run_key: str, checks: Sequence[Check], warn_only: Collection[str]
) -> GateReport:
    """Run all checks, keep their results (a repeat replaces them), and pass.

    ``subject``: what is judged, as a message shall call it. Raises GateError naming the gate, the subject and, for each
    failed check that is not in ``warn_only``, what is wrong, how often, and up to three examples.
    """
    if any(isinstance(check, SqlCheck) for check in checks):
        _analyze(db)
    outcomes = tuple(replace(outcome, is_blocking=outcome.key not in warn_only) for outcome in _run(db, checks, gate))
    _keep(db, gate, subject, run_key, outcomes)
    failures = [outcome for outcome in outcomes if outcome.is_blocking and not outcome.is_success]
    if failures:
        raise GateError(
            f"{gate} gate refused {subject}: " + "; and ".join(map(str, failures)),
            gate=gate,
            subject=subject,
            failures=[failure.key for failure in failures],
        )
    report = GateReport(gate, subject, outcomes)
    for warning in report.warnings:
        log.warning("%s gate, %s: %s", gate, subject, warning)
    return report


def _analyze(db: Database) -> None:
    """Statistics of rows that were staged a moment ago: without them the planner compares each file with each block."""
    with db.begin() as connection:
        connection.execute(text(f"ANALYZE {', '.join(STAGING_TABLES)}"))


def _run(db: Database, checks: Sequence[Check], gate: str) -> Iterator[Outcome]:
    """The outcomes in the order of ``checks``; checks of the same rows are validated together."""
    with _context(db) as context:
        for _, same in groupby(checks, key=_batch_key):
            group = list(same)
            batch, expectations, result_format = (
                _of_sql(context, group) if isinstance(group[0], SqlCheck) else _of_frame(context, group)
            )
            results = _validate(batch, expectations, result_format)
            for check in group:
                yield _outcome(check, [one for one in results if one.expectation_config.meta["key"] == check.key], gate)


def _batch_key(check: Check) -> tuple[Any, ...]:
    return (check.rows,) if isinstance(check, SqlCheck) else (id(check.frame), check.shown)


@contextmanager
def _context(db: Database) -> Iterator[Any]:
    """A context of Great Expectations in memory that knows the database; silent, and telling nobody.

    The import costs seconds, so it is made here and nowhere above. The generic SQL datasource is the right one: the one
    for PostgreSQL does not take the URL of a socket.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inventory = context.data_sources.add_sql(
            name=INVENTORY, connection_string=db.engine.url.render_as_string(hide_password=False)
        )
    context.data_sources.add_pandas(name=FRAMES)
    try:
        yield context
    finally:
        inventory.get_engine().dispose()


def _of_sql(context: Any, checks: Sequence[Check]) -> tuple[Any, list[Any], Any]:
    from great_expectations.expectations.core.unexpected_rows_expectation import UnexpectedRowsExpectation

    same = [check for check in checks if isinstance(check, SqlCheck)]
    name = same[0].key
    asset = context.data_sources.get(INVENTORY).add_query_asset(name=name, query=same[0].rows)
    expectations = [
        UnexpectedRowsExpectation(
            unexpected_rows_query=check.unexpected, description=check.wrong, meta={"key": check.key}
        )
        for check in same
    ]
    return asset.add_batch_definition_whole_table(name).get_batch(), expectations, "COMPLETE"


def _of_frame(context: Any, checks: Sequence[Check]) -> tuple[Any, list[Any], Any]:
    same = [check for check in checks if isinstance(check, FrameCheck)]
    name, frame = same[0].key, same[0].frame
    asset = context.data_sources.get(FRAMES).add_dataframe_asset(name=name)
    batch = asset.add_batch_definition_whole_dataframe(name).get_batch({"dataframe": frame.to_pandas()})
    result_format = {
        "result_format": "SUMMARY",
        "unexpected_index_column_names": list(same[0].shown),
        "partial_unexpected_count": SHOWN,
    }
    return batch, [expectation for check in same for expectation in _column_expectations(check)], result_format


def _validate(batch: Any, expectations: list[Any], result_format: Any) -> Any:
    import great_expectations as gx

    suite = gx.ExpectationSuite(name="gate", expectations=expectations)
    return batch.validate(suite, result_format=result_format).results


def _column_expectations(check: FrameCheck) -> list[Any]:
    """Great Expectations leaves nulls out of its column expectations, so they get one of their own."""
    from great_expectations.expectations.core.expect_column_values_to_be_between import ExpectColumnValuesToBeBetween
    from great_expectations.expectations.core.expect_column_values_to_be_in_set import ExpectColumnValuesToBeInSet
    from great_expectations.expectations.core.expect_column_values_to_not_be_null import ExpectColumnValuesToNotBeNull

    common: dict[str, Any] = {"column": check.column, "description": check.wrong, "meta": {"key": check.key}}
    known = ExpectColumnValuesToNotBeNull(**common)
    if check.allowed is not None:
        return [known, ExpectColumnValuesToBeInSet(value_set=list(check.allowed), **common)]
    return [known, ExpectColumnValuesToBeBetween(min_value=check.lowest, max_value=check.highest, **common)]


def _outcome(check: Check, results: Sequence[Any], gate: str) -> Outcome:
    """One outcome of one check. Raises GateError when it could not be evaluated: unknown is not good enough."""
    number, examples = 0, []
    for result in results:
        found = result.result
        if "observed_value" in found:
            number += found["observed_value"]
            examples += found["details"]["unexpected_rows"]
        elif "unexpected_count" in found:
            number += found["unexpected_count"]
            examples += found.get("partial_unexpected_index_list") or []
        else:
            raise GateError(
                f"{gate} gate: {check.key} could not be evaluated: {result.exception_info}",
                gate=gate,
                failures=[check.key],
            )
    shown = [_plain(row) for row in examples[:SHOWN]]
    return Outcome(check.key, check.wrong, check.noun, number == 0, True, number, shown)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row that JSON can hold; numbers that came through pandas are made plain again."""
    return {name: _plain_value(value) for name, value in row.items()}


def _plain_value(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        return None if value != value else int(value) if value.is_integer() else round(value, 4)
    return value if value is None or isinstance(value, bool | int) else str(value)


def _keep(db: Database, gate: str, subject: str, run_key: str, outcomes: Sequence[Outcome]) -> None:
    rows = pl.DataFrame(
        [
            {
                "gate": gate,
                "run_key": run_key,
                "subject": subject,
                "expectation": f"{outcome.key}: {outcome.wrong}",
                "is_success": outcome.is_success,
                "is_blocking": outcome.is_blocking,
                "observed": str(outcome),
                "num_unexpected": outcome.num_unexpected,
                "examples": json.dumps(outcome.examples),
            }
            for outcome in outcomes
        ]
    )
    with db.begin() as connection:
        now = connection.execute(text("SELECT now()")).scalar_one()
        connection.execute(
            text("DELETE FROM gate_results WHERE gate = :gate AND run_key = :run_key AND subject = :subject"),
            {"gate": gate, "run_key": run_key, "subject": subject},
        )
        insert_frame(connection, "gate_results", rows.with_columns(checked_at=pl.lit(now)))
