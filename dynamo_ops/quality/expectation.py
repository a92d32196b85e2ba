"""Our metric and expectation for Great Expectations. Imported inside functions only: Great Expectations costs seconds.

Great Expectations asks for a metric once, however many expectations depend on it: so the rows that several checks judge
are read once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from great_expectations.execution_engine.sqlalchemy_execution_engine import SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.expectations.metrics.metric_provider import MetricProvider, metric_value
from sqlalchemy.exc import DBAPIError

from dynamo_ops.quality.checks import CONNECTION, SHOWN

METRIC = "gate.wrong_rows"


class WrongRows(MetricProvider):
    """Of the rows of a query, by check: how many are wrong, and the first few of them in their own order.

    The wrong ones are put aside in a temporary table: a wholly bad pull of millions of rows so costs no memory. What
    the database says against it is the metric's value: of what is raised Great Expectations keeps no more than a text.
    """

    metric_name = METRIC
    domain_keys = ("batch_id",)
    value_keys = ("query", "conditions")

    @metric_value(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(
        cls,  # noqa: N805  (Great Expectations calls it with the class)
        execution_engine: SqlAlchemyExecutionEngine,
        metric_value_kwargs: Mapping[str, Any],
        **_: Any,
    ) -> dict[str, tuple[int, list[dict[str, Any]]]] | DBAPIError:
        try:
            return _read(execution_engine, metric_value_kwargs["query"], metric_value_kwargs["conditions"])
        except DBAPIError as error:
            return error


def _read(
    execution_engine: SqlAlchemyExecutionEngine, query: str, conditions: Sequence[Sequence[str]]
) -> dict[str, tuple[int, list[dict[str, Any]]]]:
    """Colons are casts here, no parameters; no percent sign may be in a query."""
    is_wrong = " OR ".join(f"({condition})" for _, condition, *_ in conditions)
    wrong_rows: dict[str, tuple[int, list[dict[str, Any]]]] = {}
    connection = execution_engine.engine.get_execution_options()[CONNECTION]
    with connection.begin_nested():  # what cannot be read keeps no others from it
        connection.exec_driver_sql(
            f"CREATE TEMPORARY TABLE wrong_rows ON COMMIT DROP AS SELECT * FROM ({query}) AS told WHERE {is_wrong}"
        )
        for key, condition, shown, datasets in conditions:
            order = ", ".join(str(number + 1) for number in range(shown.count(",") + 1))
            first = connection.exec_driver_sql(
                f"SELECT {shown}, count(*) OVER () AS num_wrong FROM wrong_rows WHERE {condition}"
                f" ORDER BY {order} LIMIT {SHOWN}"
            )
            rows = [dict(row) for row in first.mappings()]
            numbers = [row.pop("num_wrong") for row in rows]
            wrong_rows[key] = (numbers[0] if numbers else 0, rows)
            if rows and datasets:
                connection.exec_driver_sql(_datasets_of(key, condition, shown, datasets))
        connection.exec_driver_sql("DROP TABLE wrong_rows")
    return wrong_rows


def _datasets_of(key: str, condition: str, shown: str, datasets: str) -> str:
    """Counts the wrong rows by dataset, with one of each; how many rows there are does not matter to the memory."""
    return f"""
        INSERT INTO wrong_datasets (key, dataset, num_wrong, example)
        SELECT '{key}', by_dataset.its_dataset, by_dataset.num_wrong,
               (SELECT row_to_json(one) FROM (SELECT {shown} FROM wrong_rows WHERE ctid = by_dataset.first) AS one)
        FROM (SELECT its_dataset, count(*) AS num_wrong, min(wrong_rows.ctid) AS first
              FROM wrong_rows LEFT JOIN LATERAL unnest({datasets}) AS of_row (its_dataset) ON true
              WHERE {condition} GROUP BY its_dataset) AS by_dataset"""


class ExpectNoWrongRows(BatchExpectation):
    """No row of ``query`` is wrong in the eyes of the check ``key``.

    ``conditions``: of all checks of these rows the key, the SQL condition of a wrong row, the columns to show, and the
    datasets of a row (``SqlCheck.datasets``).
    """

    query: str
    conditions: list[list[str]]
    key: str

    metric_dependencies: ClassVar[tuple[str, ...]] = (METRIC,)
    success_keys: ClassVar[tuple[str, ...]] = ("query", "conditions", "key")

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,  # noqa: ARG002
        execution_engine: Any = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        wrong_rows = metrics[METRIC]
        if isinstance(wrong_rows, DBAPIError):
            return {"success": False, "result": {"error": wrong_rows}}
        number, shown = wrong_rows[self.key]
        return {"success": number == 0, "result": {"observed_value": number, "details": {"unexpected_rows": shown}}}
