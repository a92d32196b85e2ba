"""Great Expectations at work: checks as expectations, on rows in PostgreSQL or on frames, and what came of them.

The rows of a check are read once, whatever the number of checks: those that any of them finds wrong are put aside in a
temporary table, and the expectations look at that. A wholly bad pull of millions of rows so costs no memory.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, OperationalError

from dynamo_ops.base.errors import GateError, RetryableRemoteError
from dynamo_ops.database.connection import Database
from dynamo_ops.quality.checks import SHOWN, Check, FrameCheck, Outcome, SqlCheck

INVENTORY = "inventory"
FRAMES = "frames"
ROWS = "rows"
WORK_MEMORY_MB = 128


@dataclass(frozen=True)
class Validation:
    """What came of all checks, in their order. ``figures``: the one row of the figures asked for, by column.

    ``results``: Great Expectations' own, for its pages.
    """

    outcomes: tuple[Outcome, ...]
    figures: Mapping[str, float]
    results: tuple[Any, ...]


def validate(
    db: Database, gate: str, checks: Sequence[Check], prepare: Mapping[str, str], figures: str | None
) -> Validation:
    """Run ``checks``. ``prepare``: temporary tables by name, as queries, that checks and ``figures`` may read.

    ``figures``: query of one row of numbers. Raises GateError when a check could not be evaluated: unknown is not good
    enough; RetryableRemoteError when the database is away.
    """
    outcomes: list[Outcome] = []
    kept: list[Any] = []
    with _context(db) as (context, connect):
        with _told_apart(db, gate, ["what was staged"]), connect() as connection:
            for name, query in prepare.items():
                _keep_rows(connection, name, query)
            measured = {} if figures is None else _numbers(connection, figures)
        for number, (_, same) in enumerate(groupby(checks, key=_batch_key)):
            group = list(same)
            if isinstance(group[0], SqlCheck):
                with _told_apart(db, gate, [check.key for check in group]), connect() as connection:
                    suspects = _put_aside(connection, f"suspects_{number}", group)
                validations = _validate_sql(context, suspects, group)
            else:
                validations = _validate_frame(context, group)
            outcomes += [_outcome(check, _of(check, validations), gate) for check in group]
            kept += validations
    return Validation(tuple(outcomes), measured, tuple(kept))


@contextmanager
def _told_apart(db: Database, gate: str, keys: list[str]) -> Iterator[None]:
    """A database that is away is another error than rows that make a query fail."""
    try:
        yield
    except OperationalError as error:
        raise RetryableRemoteError(f"database {db.safe_url}: {error.orig}", service="postgresql") from error
    except DBAPIError as error:
        raise GateError(
            f"{gate} gate: {', '.join(keys)} could not be evaluated: {error.orig}", gate=gate, failures=keys
        ) from error


def _batch_key(check: Check) -> tuple[Any, ...]:
    return (check.rows,) if isinstance(check, SqlCheck) else (id(check.frame), check.shown)


@contextmanager
def _context(db: Database) -> Iterator[Any]:
    """A context of Great Expectations in memory, silent, telling nobody, and the one connection that it works over.

    The import costs seconds, so it is made here and nowhere above. The generic SQL datasource is the right one: the one
    for PostgreSQL does not take the URL of a socket. One connection, so that its temporary tables are seen.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logging.getLogger("great_expectations").setLevel(logging.WARNING)  # 600 lines a gate
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context: Any = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inventory = context.data_sources.add_sql(
            name=INVENTORY,
            connection_string=db.engine.url.render_as_string(hide_password=False),
            kwargs={
                "pool_size": 1,
                "max_overflow": 0,
                "connect_args": {"options": f"-c work_mem={WORK_MEMORY_MB}MB -c timezone=UTC"},
            },
        )
        inventory.add_query_asset(name=ROWS, query="SELECT 1").add_batch_definition_whole_table(ROWS)
    context.data_sources.add_pandas(name=FRAMES)
    engine = inventory.get_execution_engine().engine

    @contextmanager
    def connect() -> Iterator[Connection]:
        with engine.begin() as connection:
            yield connection

    try:
        yield context, connect
    finally:
        engine.dispose()
        inventory.get_engine().dispose()


def _keep_rows(connection: Connection, name: str, query: str) -> None:
    """Colons are casts here, no parameters; no percent sign may be in the query."""
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {name} AS {query}")
    connection.exec_driver_sql(f"ANALYZE {name}")


def _numbers(connection: Connection, figures: str) -> dict[str, float]:
    measured = connection.exec_driver_sql(figures).mappings().one()
    return {name: float(figure or 0) for name, figure in measured.items()}


def _put_aside(connection: Connection, name: str, group: Sequence[Check]) -> str:
    """A query of those rows that some check of the group finds wrong."""
    same = [check for check in group if isinstance(check, SqlCheck)]
    wrong = " OR ".join(f"({check.condition})" for check in same)
    _keep_rows(connection, name, f"SELECT * FROM ({same[0].rows}) AS told WHERE {wrong}")
    return f"SELECT * FROM {name}"


def _validate_sql(context: Any, suspects: str, group: Sequence[Check]) -> list[Any]:
    from dynamo_ops.quality.expectation import ExpectNoWrongRows

    same = [check for check in group if isinstance(check, SqlCheck)]
    batch_definition = context.data_sources.get(INVENTORY).get_asset(ROWS).get_batch_definition(ROWS)
    batch_definition.data_asset.query = (
        suspects  # one asset for all: to add one takes Great Expectations longer than to ask it
    )
    expectations = [
        ExpectNoWrongRows(
            unexpected_rows_query=_unexpected(check), description=_description(check), meta={"key": check.key}
        )
        for check in same
    ]
    return _validate(batch_definition.get_batch(), expectations, "COMPLETE")


def _unexpected(check: SqlCheck) -> str:
    """The query of some wrong rows, with the number of all, in an order that does not depend on how they lie."""
    from dynamo_ops.quality.expectation import COUNT

    # to Great Expectations a brace means something, and to SQLAlchemy a single colon before a word
    condition = re.sub(r"(?<!:):(?=\w)", r"\:", check.condition.replace("{", "{{").replace("}", "}}"))
    order = ", ".join(str(number + 1) for number in range(check.shown.count(",") + 1))
    return (
        f"SELECT {check.shown}, count(*) OVER () AS {COUNT} FROM {{batch}}"
        f" WHERE {condition} ORDER BY {order} LIMIT {SHOWN}"
    )


def _validate_frame(context: Any, group: Sequence[Check]) -> list[Any]:
    same = [check for check in group if isinstance(check, FrameCheck)]
    name, frame = same[0].key, same[0].frame
    asset = context.data_sources.get(FRAMES).add_dataframe_asset(name=name)
    batch = asset.add_batch_definition_whole_dataframe(name).get_batch({"dataframe": frame.to_pandas()})
    result_format = {
        "result_format": "SUMMARY",
        "unexpected_index_column_names": list(same[0].shown),
        "partial_unexpected_count": SHOWN,
    }
    return _validate(
        batch, [expectation for check in same for expectation in _column_expectations(check)], result_format
    )


def _description(check: Check) -> str:
    """What must not be, for the list of all expectations: there the words stand alone."""
    return f"{check.noun}: {check.wrong.rstrip(',')}"


def _validate(batch: Any, expectations: list[Any], result_format: Any) -> list[Any]:
    import great_expectations as gx

    suite = gx.ExpectationSuite(name="gate", expectations=expectations)
    return list(batch.validate(suite, result_format=result_format).results)


def _column_expectations(check: FrameCheck) -> list[Any]:
    """Great Expectations leaves nulls out of its column expectations, so they get one of their own."""
    from great_expectations.expectations.core.expect_column_values_to_be_between import ExpectColumnValuesToBeBetween
    from great_expectations.expectations.core.expect_column_values_to_be_in_set import ExpectColumnValuesToBeInSet
    from great_expectations.expectations.core.expect_column_values_to_not_be_null import ExpectColumnValuesToNotBeNull

    common: dict[str, Any] = {"column": check.column, "description": _description(check), "meta": {"key": check.key}}
    not_null = ExpectColumnValuesToNotBeNull(**common)
    if check.allowed is not None:
        return [not_null, ExpectColumnValuesToBeInSet(value_set=list(check.allowed), **common)]
    return [not_null, ExpectColumnValuesToBeBetween(min_value=check.lowest, max_value=check.highest, **common)]


def _of(check: Check, results: Sequence[Any]) -> list[Any]:
    return [one for one in results if one.expectation_config.meta["key"] == check.key]


def _outcome(check: Check, results: Sequence[Any], gate: str) -> Outcome:
    number, examples = 0, []
    for validation in results:
        observed = validation.result
        if "observed_value" in observed:
            number += observed["observed_value"]
            examples += observed["details"]["unexpected_rows"]
        elif "unexpected_count" in observed:
            number += observed["unexpected_count"]
            examples += observed.get("partial_unexpected_index_list") or []
        else:
            raise GateError(
                f"{gate} gate: {check.key} could not be evaluated: {_exception(validation)}",
                gate=gate,
                failures=[check.key],
            )
    hidden = check.column if isinstance(check, FrameCheck) and check.allowed == (True,) else None
    shown = [_plain(example, hidden) for example in examples[:SHOWN]]
    return Outcome(check.key, check.wrong, check.noun, number == 0, True, number, shown, check.note)


def _exception(result: Any) -> str:
    """What the database or Great Expectations said; its trace is left out."""
    info = result.exception_info
    inner = next((entry for entry in info.values() if isinstance(entry, dict)), info)
    return str(inner.get("exception_message", info))


def _plain(row: dict[str, Any], hidden: str | None) -> dict[str, Any]:
    """A row that JSON can hold; numbers that came through pandas are made plain again.

    ``hidden``: a flag that should be true says no more than the words of its check.
    """
    return {name: _plain_value(cell) for name, cell in row.items() if name != hidden}


def _plain_value(cell: Any) -> Any:
    cell = float(cell) if isinstance(cell, Decimal) else cell.item() if hasattr(cell, "item") else cell
    if isinstance(cell, float):
        return None if cell != cell else int(cell) if cell.is_integer() else round(cell, 4)
    return cell if cell is None or isinstance(cell, bool | int) else str(cell)
