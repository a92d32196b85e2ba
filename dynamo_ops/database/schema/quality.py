"""What the data-quality gates measured, so that a trend can be seen and a refusal can be traced."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from dynamo_ops.database.schema.base import Base, bigint_key


class GateResult(Base):
    """One expectation of one gate in one run. ``subject``: the source or partition; ``examples``: up to three rows.

    A gate that is asked again in the same run replaces its results.
    """

    __tablename__ = "gate_results"
    __table_args__ = (Index("ix_gate_results_gate", "gate", "checked_at"),)

    id: Mapped[bigint_key]
    gate: Mapped[str]
    run_key: Mapped[str]
    subject: Mapped[str]
    expectation: Mapped[str]
    is_success: Mapped[bool]
    is_blocking: Mapped[bool]
    observed: Mapped[str | None]
    num_unexpected: Mapped[int | None]
    examples: Mapped[list[Any]] = mapped_column(JSONB)
    checked_at: Mapped[datetime]


class GateMetric(Base):
    """A figure that a gate measured of its subject: breakers compare with those before, people see the trend.

    ``as_of``: the moment that the data describe (the end of the run's interval), ``unit``: what the value counts. A
    gate that is asked again in the same run replaces its figures. ``is_accepted``: the gate let the subject pass, so
    that later runs may be compared with it.
    """

    __tablename__ = "gate_metrics"
    __table_args__ = (Index("ix_gate_metrics_trend", "gate", "subject", "metric", "as_of"),)

    id: Mapped[bigint_key]
    gate: Mapped[str]
    subject: Mapped[str]
    metric: Mapped[str]
    value: Mapped[float]
    unit: Mapped[str]
    run_key: Mapped[str]
    as_of: Mapped[datetime]
    measured_at: Mapped[datetime]
    is_accepted: Mapped[bool]
