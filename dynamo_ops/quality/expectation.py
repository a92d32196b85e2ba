"""Our expectation for Great Expectations. Imported inside functions only: Great Expectations costs seconds."""

from __future__ import annotations

from typing import Any, ClassVar

from great_expectations.expectations.core.unexpected_rows_expectation import UnexpectedRowsExpectation

COUNT = "num_unexpected"


class ExpectNoWrongRows(UnexpectedRowsExpectation):
    """No row is wrong. The query gives only some of the wrong rows, and how many there are in all in a column COUNT.

    The original asks twice, once for all wrong rows and once for their number: of a wholly bad pull that is millions.
    """

    metric_dependencies: ClassVar[tuple[str, ...]] = ("unexpected_rows_query.table",)

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,  # noqa: ARG002
        execution_engine: Any = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        wrong_rows = metrics["unexpected_rows_query.table"]
        number = wrong_rows[0][COUNT] if wrong_rows else 0
        shown = [{name: cell for name, cell in wrong_row.items() if name != COUNT} for wrong_row in wrong_rows]
        return {"success": number == 0, "result": {"observed_value": number, "details": {"unexpected_rows": shown}}}
