"""Great Expectations at work: checks as expectations, on rows in PostgreSQL or on frames, and what came of them."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any, Protocol, TypeGuard

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, OperationalError

from dynamo_ops.base.errors import GateError, RetryableRemoteError
from dynamo_ops.database.connection import Database
from dynamo_ops.quality.checks import CONNECTION, SHOWN, Check, FrameCheck, Outcome, SqlCheck

INVENTORY = "inventory"
FRAMES = "frames"
ROWS = "rows"
WORK_MEMORY_MB = 128
_SETTINGS = f"SET LOCAL work_mem = '{WORK_MEMORY_MB}MB'; SET LOCAL timezone TO 'UTC'"


class Sieve(Protocol):
    """What sets aside the subjects of wrong rows: called before the checks that name them, and between those and the
    others; ``keep`` in the transaction that keeps the judgement."""

    def prepare(self, connection: Connection) -> None:
        """Make the table that the first checks fill."""
        ...

    def sift(self, connection: Connection, checks: Sequence[SqlCheck], warn_only: Collection[str]) -> frozenset[str]:
        """The keys of checks that do not refuse, since what is wrong is set aside."""
        ...

    def keep(self, connection: Connection) -> None:
        """Keep what was set aside."""
        ...


@dataclass(frozen=True)
class Validation:
    """What came of all checks, in their order. ``figures``: the one row of the figures asked for, by column.

    ``results``: Great Expectations' own, for its pages. ``spared``: checks that do not refuse, as the sieve says.
    """

    outcomes: tuple[Outcome, ...]
    figures: Mapping[str, float]
    results: tuple[Any, ...]
    spared: frozenset[str] = frozenset()


def validate(
    db: Database,
    gate: str,
    checks: Sequence[Check],
    prepare: Mapping[str, str],
    figures: str | None,
    sieve: Sieve | None = None,
    warn_only: Collection[str] = (),
) -> Validation:
    """Run ``checks``. ``prepare``: temporary tables by name, as queries, that checks and ``figures`` may read.

    ``sieve``: what sees the checks with ``datasets``, which are run first; of those in ``warn_only`` nothing is set
    aside.
    ``figures``: query of one row of numbers. Raises GateError when a check could not be evaluated: unknown is not good
    enough; RetryableRemoteError when the database is away.
    """
    with db.begin() as connection, _context(db, connection) as context:
        with _told_apart(db, gate, ["what was staged"]):
            connection.exec_driver_sql(_SETTINGS)
            for name, query in prepare.items():
                _keep_rows(connection, name, query)
            measured = {} if figures is None else _numbers(connection, figures)
            if sieve is not None:
                sieve.prepare(connection)
        first = [] if sieve is None else [check for check in checks if _names_datasets(check)]
        results = _results(context, first)
        spared: frozenset[str] = frozenset()
        if sieve is not None:
            with _told_apart(db, gate, ["what is set aside"]):
                spared = sieve.sift(connection, first, warn_only)
        results += _results(context, [check for check in checks if sieve is None or not _names_datasets(check)])
    of_check = {
        check.key: [one for one in results if one.expectation_config.meta["key"] == check.key] for check in checks
    }
    outcomes = tuple(_outcome(db, check, of_check[check.key], gate) for check in checks)
    return Validation(outcomes, measured, tuple(one for check in checks for one in of_check[check.key]), spared)


def _names_datasets(check: Check) -> TypeGuard[SqlCheck]:
    """Whether it can be told of which datasets its wrong rows are."""
    return isinstance(check, SqlCheck) and check.datasets != ""


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


@contextmanager
def _context(db: Database, connection: Connection) -> Iterator[Any]:
    """A context of Great Expectations in memory, silent and telling nobody, whose metrics are read over ``connection``:
    in one transaction, since a pooler may give the next one to another session, which has no temporary tables.

    The import costs seconds, so it is made here and nowhere above. The generic SQL datasource is the right one: the one
    for PostgreSQL does not take the URL of a socket.
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
            kwargs={"pool_size": 1, "max_overflow": 0},
        )
        inventory.add_query_asset(name=ROWS, query="SELECT 1").add_batch_definition_whole_table(ROWS)
    context.data_sources.add_pandas(name=FRAMES)
    engine = inventory.get_execution_engine().engine
    engine.update_execution_options(**{CONNECTION: connection})
    try:
        yield context
    finally:
        engine.dispose()
        inventory.get_engine().dispose()


def _keep_rows(connection: Connection, name: str, query: str) -> None:
    """Colons are casts here, no parameters; no percent sign may be in the query."""
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS {query}")
    connection.exec_driver_sql(f"ANALYZE {name}")


def _numbers(connection: Connection, figures: str) -> dict[str, float]:
    measured = connection.exec_driver_sql(figures).mappings().one()
    return {name: float(figure or 0) for name, figure in measured.items()}


def _results(context: Any, checks: Sequence[Check]) -> list[Any]:
    """Great Expectations' results of all checks: those of the database in one suite, those of a frame in one each."""
    on_rows = [check for check in checks if isinstance(check, SqlCheck)]
    on_frames = [check for check in checks if isinstance(check, FrameCheck)]
    results = _validate_rows(context, on_rows) if on_rows else []
    for _, same in groupby(on_frames, key=lambda check: (id(check.frame), check.shown)):
        results += _validate_frame(context, list(same))
    return results


def _validate_rows(context: Any, checks: Sequence[SqlCheck]) -> list[Any]:
    from dynamo_ops.quality.expectation import ExpectNoWrongRows

    conditions: dict[str, list[list[str]]] = {}
    for check in checks:
        condition = [check.key, check.condition, check.shown, check.datasets]
        conditions.setdefault(check.rows, []).append(condition)
    expectations = [
        ExpectNoWrongRows(query=check.rows, conditions=conditions[check.rows], key=check.key, **_named(check))
        for check in checks
    ]
    batch = context.data_sources.get(INVENTORY).get_asset(ROWS).get_batch_definition(ROWS).get_batch()
    return _validate(batch, expectations, "COMPLETE")


def _validate_frame(context: Any, same: Sequence[FrameCheck]) -> list[Any]:
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


def _named(check: Check) -> dict[str, Any]:
    """What must not be, for the list of all expectations (there the words stand alone), and whose expectation it is."""
    return {"description": f"{check.noun}: {check.wrong.rstrip(',')}", "meta": {"key": check.key}}


def _validate(batch: Any, expectations: list[Any], result_format: Any) -> list[Any]:
    import great_expectations as gx

    suite = gx.ExpectationSuite(name="gate", expectations=expectations)
    return list(batch.validate(suite, result_format=result_format).results)


def _column_expectations(check: FrameCheck) -> list[Any]:
    """Great Expectations leaves nulls out of its column expectations, so they get one of their own."""
    from great_expectations.expectations.core.expect_column_values_to_be_between import ExpectColumnValuesToBeBetween
    from great_expectations.expectations.core.expect_column_values_to_be_in_set import ExpectColumnValuesToBeInSet
    from great_expectations.expectations.core.expect_column_values_to_not_be_null import ExpectColumnValuesToNotBeNull

    common = {"column": check.column, **_named(check)}
    not_null = ExpectColumnValuesToNotBeNull(**common)
    if check.allowed is not None:
        return [not_null, ExpectColumnValuesToBeInSet(value_set=list(check.allowed), **common)]
    return [not_null, ExpectColumnValuesToBeBetween(min_value=check.lowest, max_value=check.highest, **common)]


def _outcome(db: Database, check: Check, results: Sequence[Any], gate: str) -> Outcome:
    number, examples = 0, []
    for validation in results:
        observed = validation.result
        if "error" in observed:
            with _told_apart(db, gate, [check.key]):
                raise observed["error"]
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
